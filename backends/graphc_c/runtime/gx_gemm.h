/* Matrix products: gx_gemm_f32, gx_gemm_f64, and gx_matmul_ for integers.
 *
 * Holds the block sizes and the integer loops; the float algorithm stands once
 * in gx_gemm_real.h and is read here for each float type. Knows no threads, no
 * allocation and no epilogues.
 *
 *   c[i * c_row + j] (= or +=) sum over p of a[i, p] * b[p, j]
 *   a[i, p] = a[i * a_row + p * a_col],  b[p, j] = b[p * b_row + j * b_col]
 *
 * Any strides, any sizes from 0 on; c overlaps neither a, b nor work. Compile
 * with -ffp-contract=fast: without it no multiply-add is fused. Tiles use the
 * vector extensions of GCC and clang; GX_NO_VECTORS asks for plain C11.
 */
#ifndef GX_GEMM_H
#define GX_GEMM_H

#include <stdint.h>

/* Bytes of a vector register, and how many of them a tile is wide: 6 rows of
 * 4 registers keep 32 registers busy, 6 rows of 2 keep 16. */
#if defined(__AVX512F__)
#define GX_VECTOR_BYTES 64
#define GX_TILE_VECTORS 4
#elif defined(__AVX__)
#define GX_VECTOR_BYTES 32
#define GX_TILE_VECTORS 2
#elif defined(__aarch64__)
#define GX_VECTOR_BYTES 16
#define GX_TILE_VECTORS 4
#else
#define GX_VECTOR_BYTES 16
#define GX_TILE_VECTORS 2
#endif

enum {
  GX_TILE_ROWS = 6,
  GX_BLOCK_ROWS = 96,   /* of A packed at once: a multiple of GX_TILE_ROWS */
  GX_BLOCK_COLS = 1024, /* of B packed at once: a multiple of all widths */
  GX_BLOCK_DEPTH = 128, /* of both: a panel of B stays in the first caches */
  GX_FEW_ROWS = 24      /* so few that packing a readable B does not pay */
};

static inline int64_t gx_least(int64_t x, int64_t y) { return x < y ? x : y; }

static inline int64_t gx_round_up(int64_t x, int64_t step) {
  return (x + step - 1) / step * step;
}

#define GX_REAL float
#define GX_NAME(name) gx_##name##_f32
#include "gx_gemm_real.h"
#undef GX_REAL
#undef GX_NAME

#define GX_REAL double
#define GX_NAME(name) gx_##name##_f64
#include "gx_gemm_real.h"
#undef GX_REAL
#undef GX_NAME

/* Integers wrap: U is an unsigned type at least as wide. */
#define GX_MATMUL(T, U, S)                                                   \
  static inline void gx_matmul_##S(                                          \
      int64_t m, int64_t n, int64_t k, const T *a, int64_t a_row,            \
      int64_t a_col, const T *b, int64_t b_row, int64_t b_col, T *c,         \
      int64_t c_row, int accumulate) {                                       \
    for (int64_t i = 0; i < m; i++) {                                        \
      T *restrict row = c + i * c_row;                                       \
      for (int64_t j = 0; j < n && !accumulate; j++) {                       \
        row[j] = 0;                                                          \
      }                                                                      \
      for (int64_t p = 0; p < k; p++) {                                      \
        U x = (U)a[i * a_row + p * a_col];                                   \
        for (int64_t j = 0; j < n; j++) {                                    \
          row[j] = (T)((U)row[j] + x * (U)b[p * b_row + j * b_col]);         \
        }                                                                    \
      }                                                                      \
    }                                                                        \
  }

GX_MATMUL(int32_t, uint32_t, i32)
GX_MATMUL(int64_t, uint64_t, i64)
GX_MATMUL(uint8_t, uint32_t, u8)
GX_MATMUL(uint32_t, uint32_t, u32)
GX_MATMUL(uint64_t, uint64_t, u64)

#undef GX_MATMUL

#endif
