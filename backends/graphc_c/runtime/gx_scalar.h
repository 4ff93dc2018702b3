/* Scalar primitives: one function for each primitive and dtype.
 *
 * Holds what graphc's elementwise formulas are made of. Knows no arrays; the
 * float32 functions that must vectorise stand in gx_math.h.
 *
 * Suffixes name the dtype of the numbers: f32 f64 i32 i64 u8 u32 u64, and b,
 * a bool stored as uint8_t 0 or 1. Integers wrap, and dividing one by zero
 * gives zero. Floats are exact as NumPy's are, or rounded as the C library's
 * are; none of this depends on -ffp-contract.
 */
#ifndef GX_SCALAR_H
#define GX_SCALAR_H

#include <math.h>
#include <stdint.h>

#include "gx_math.h"

/* Every dtype: comparisons and where. */

#define GX_COMPARISONS(T, S)                                                 \
  static inline uint8_t gx_equal_##S(T x, T y) { return x == y; }            \
  static inline uint8_t gx_not_equal_##S(T x, T y) { return x != y; }        \
  static inline uint8_t gx_less_##S(T x, T y) { return x < y; }              \
  static inline uint8_t gx_less_equal_##S(T x, T y) { return x <= y; }       \
  static inline T gx_where_##S(uint8_t c, T x, T y) { return c ? x : y; }

GX_COMPARISONS(float, f32)
GX_COMPARISONS(double, f64)
GX_COMPARISONS(int32_t, i32)
GX_COMPARISONS(int64_t, i64)
GX_COMPARISONS(uint8_t, u8)
GX_COMPARISONS(uint32_t, u32)
GX_COMPARISONS(uint64_t, u64)
GX_COMPARISONS(uint8_t, b)

#undef GX_COMPARISONS

static inline uint8_t gx_logical_and_b(uint8_t x, uint8_t y) {
  return (x != 0) & (y != 0);
}

static inline uint8_t gx_logical_or_b(uint8_t x, uint8_t y) {
  return (x != 0) | (y != 0);
}

static inline uint8_t gx_logical_not_b(uint8_t x) { return x == 0; }

/* Integers. U is an unsigned type at least as wide, where wrapping is defined.
 * A quotient by zero is computed by one instead and then dropped, so that the
 * division itself is always defined. */

#define GX_INTEGERS(T, U, S)                                                 \
  static inline T gx_add_##S(T x, T y) { return (T)((U)x + (U)y); }          \
  static inline T gx_subtract_##S(T x, T y) { return (T)((U)x - (U)y); }     \
  static inline T gx_multiply_##S(T x, T y) { return (T)((U)x * (U)y); }     \
  static inline T gx_negative_##S(T x) { return (T)((U)0 - (U)x); }          \
  static inline T gx_maximum_##S(T x, T y) { return x >= y ? x : y; }        \
  static inline T gx_minimum_##S(T x, T y) { return x <= y ? x : y; }

#define GX_SIGNED_INTEGERS(T, U, S)                                          \
  GX_INTEGERS(T, U, S)                                                       \
  static inline T gx_abs_##S(T x) { return x < 0 ? gx_negative_##S(x) : x; } \
  static inline T gx_sign_##S(T x) { return (T)((x > 0) - (x < 0)); }        \
  static inline T gx_floor_divide_##S(T x, T y) {                            \
    if (y == 0) {                                                            \
      return 0;                                                              \
    }                                                                        \
    if (y == -1) { /* the one quotient that overflows: MIN / -1 */           \
      return gx_negative_##S(x);                                             \
    }                                                                        \
    return (T)(x / y - ((x % y != 0) & ((x < 0) != (y < 0))));               \
  }                                                                          \
  static inline T gx_remainder_##S(T x, T y) {                               \
    if ((y == 0) | (y == -1)) {                                              \
      return 0;                                                              \
    }                                                                        \
    T r = (T)(x % y);                                                        \
    return (T)(r + (((r != 0) & ((r < 0) != (y < 0))) ? y : 0));             \
  }

#define GX_UNSIGNED_INTEGERS(T, U, S)                                        \
  GX_INTEGERS(T, U, S)                                                       \
  static inline T gx_abs_##S(T x) { return x; }                              \
  static inline T gx_sign_##S(T x) { return x != 0; }                        \
  static inline T gx_floor_divide_##S(T x, T y) {                            \
    return y == 0 ? 0 : (T)(x / y);                                          \
  }                                                                          \
  static inline T gx_remainder_##S(T x, T y) {                               \
    return y == 0 ? 0 : (T)(x % y);                                          \
  }

GX_SIGNED_INTEGERS(int32_t, uint32_t, i32)
GX_SIGNED_INTEGERS(int64_t, uint64_t, i64)
GX_UNSIGNED_INTEGERS(uint8_t, uint32_t, u8)
GX_UNSIGNED_INTEGERS(uint32_t, uint32_t, u32)
GX_UNSIGNED_INTEGERS(uint64_t, uint64_t, u64)

#undef GX_INTEGERS
#undef GX_SIGNED_INTEGERS
#undef GX_UNSIGNED_INTEGERS

/* Floats. F gives the C library's name for the type: sqrtf or sqrt.
 *
 * gx_divmod_ follows npy_divmod step by step, since the signs of its zeros and
 * its infinities are part of what NumPy promises. */

#define GX_FLOATS(T, F, S)                                                   \
  static inline T gx_add_##S(T x, T y) { return x + y; }                     \
  static inline T gx_subtract_##S(T x, T y) { return x - y; }                \
  static inline T gx_multiply_##S(T x, T y) { return x * y; }                \
  static inline T gx_divide_##S(T x, T y) { return x / y; }                  \
  static inline T gx_negative_##S(T x) { return -x; }                        \
  static inline T gx_abs_##S(T x) { return F(fabs)(x); }                     \
  static inline T gx_floor_##S(T x) { return F(floor)(x); }                  \
  static inline T gx_sqrt_##S(T x) { return F(sqrt)(x); }                    \
  static inline T gx_pow_##S(T x, T y) { return F(pow)(x, y); }              \
  static inline T gx_sin_##S(T x) { return F(sin)(x); }                      \
  static inline T gx_cos_##S(T x) { return F(cos)(x); }                      \
  static inline T gx_atan_##S(T x) { return F(atan)(x); }                    \
  /* A NaN wins; of equal numbers the second, as NumPy's vector loops do. */ \
  static inline T gx_maximum_##S(T x, T y) {                                 \
    return ((x > y) | (x != x)) ? x : y;                                     \
  }                                                                          \
  static inline T gx_minimum_##S(T x, T y) {                                 \
    return ((x < y) | (x != x)) ? x : y;                                     \
  }                                                                          \
  static inline T gx_sign_##S(T x) {                                         \
    T s = x > 0 ? (T)1 : (T)0;                                               \
    s = x < 0 ? (T)-1 : s;                                                   \
    return x != x ? x : s;                                                   \
  }                                                                          \
  static inline T gx_divmod_##S(T x, T y, T *quotient) {                     \
    T mod = F(fmod)(x, y);                                                   \
    if (y == 0) {                                                            \
      *quotient = x / y;                                                     \
      return mod;                                                            \
    }                                                                        \
    T div = (x - mod) / y;                                                   \
    if (mod == 0) {                                                          \
      mod = F(copysign)(0, y);                                               \
    } else if ((y < 0) != (mod < 0)) {                                       \
      mod += y;                                                              \
      div -= 1;                                                              \
    }                                                                        \
    if (div == 0) {                                                          \
      *quotient = F(copysign)(0, x / y);                                     \
    } else {                                                                 \
      T below = F(floor)(div);                                               \
      *quotient = div - below > (T)0.5 ? below + 1 : below;                  \
    }                                                                        \
    return mod;                                                              \
  }                                                                          \
  static inline T gx_floor_divide_##S(T x, T y) {                            \
    T quotient;                                                              \
    (void)gx_divmod_##S(x, y, &quotient);                                    \
    return quotient;                                                         \
  }                                                                          \
  static inline T gx_remainder_##S(T x, T y) {                               \
    T quotient;                                                              \
    return gx_divmod_##S(x, y, &quotient);                                   \
  }

#define GX_FLOAT_NAME(name) name##f
#define GX_DOUBLE_NAME(name) name

GX_FLOATS(float, GX_FLOAT_NAME, f32)
GX_FLOATS(double, GX_DOUBLE_NAME, f64)

#undef GX_FLOATS
#undef GX_FLOAT_NAME
#undef GX_DOUBLE_NAME

/* float64 functions that gx_math.h has for float32: the C library's. */

static inline double gx_erf_f64(double x) { return erf(x); }
static inline double gx_exp_f64(double x) { return exp(x); }
static inline double gx_expm1_f64(double x) { return expm1(x); }
static inline double gx_log_f64(double x) { return log(x); }
static inline double gx_log1p_f64(double x) { return log1p(x); }
static inline double gx_tanh_f64(double x) { return tanh(x); }

/* 1 / (1 + exp(-x)); exp never overflows, so both tails keep their digits. */
static inline double gx_sigmoid_f64(double x) {
  double e = exp(-fabs(x));
  return (x < 0 ? e : 1.0) / (1.0 + e);
}

/* log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)). */
static inline double gx_softplus_f64(double x) {
  return (x < 0 ? 0.0 : x) + log1p(exp(-fabs(x)));
}

#endif
