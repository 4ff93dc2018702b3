/* Reductions over n elements that are `stride` apart.
 *
 * Holds sums, maxima, their positions and logsumexp over one axis; the float
 * loops stand once in gx_reduce_real.h. Knows no shapes: a caller loops over
 * the axes that stay.
 */
#ifndef GX_REDUCE_H
#define GX_REDUCE_H

#include <stdint.h>

#include "gx_scalar.h"

/* Terms added side by side, and terms added before a partial sum is set
 * aside: the error grows with n / GX_SUM_CHUNK. GX_EXP_TILE: exponentials
 * that logsumexp keeps before it adds them. */
enum { GX_SUM_LANES = 32, GX_SUM_CHUNK = 2048, GX_EXP_TILE = 256 };

#define GX_REAL float
#define GX_NAME(name) gx_##name##_f32
#include "gx_reduce_real.h"
#undef GX_REAL
#undef GX_NAME

#define GX_REAL double
#define GX_NAME(name) gx_##name##_f64
#include "gx_reduce_real.h"
#undef GX_REAL
#undef GX_NAME

/* Integers: sums wrap; U is an unsigned type at least as wide. gx_max_ and
 * gx_argmax_ need n >= 1; the first of equal elements is the maximum. */

#define GX_SUM(T, U, S)                                                      \
  static inline T gx_sum_##S(const T *p, int64_t n, int64_t stride) {        \
    U sum = 0;                                                               \
    for (int64_t i = 0; i < n; i++) {                                        \
      sum += (U)p[i * stride];                                               \
    }                                                                        \
    return (T)sum;                                                           \
  }

#define GX_MAX(T, S)                                                         \
  static inline T gx_max_##S(const T *p, int64_t n, int64_t stride) {        \
    T max = p[0];                                                            \
    for (int64_t i = 1; i < n; i++) {                                        \
      T x = p[i * stride];                                                   \
      max = x > max ? x : max;                                               \
    }                                                                        \
    return max;                                                              \
  }                                                                          \
  static inline int64_t gx_argmax_##S(const T *p, int64_t n,                 \
                                      int64_t stride) {                      \
    T max = gx_max_##S(p, n, stride);                                        \
    int64_t i = 0;                                                           \
    while (p[i * stride] != max) {                                           \
      i++;                                                                   \
    }                                                                        \
    return i;                                                                \
  }

GX_SUM(int32_t, uint32_t, i32)
GX_SUM(int64_t, uint64_t, i64)
GX_SUM(uint8_t, uint32_t, u8)
GX_SUM(uint32_t, uint32_t, u32)
GX_SUM(uint64_t, uint64_t, u64)

GX_MAX(int32_t, i32)
GX_MAX(int64_t, i64)
GX_MAX(uint8_t, u8)
GX_MAX(uint32_t, u32)
GX_MAX(uint64_t, u64)
GX_MAX(uint8_t, b)

#undef GX_SUM
#undef GX_MAX

#endif
