/* float32 exp, expm1, log, log1p, tanh, sigmoid, softplus, erf, branch-free.
 *
 * Holds polynomial forms that a compiler can vectorise inside a plain loop; a
 * call of the C library for each lane is 30 times slower. Knows no arrays and
 * no vector types. Coefficients: Cephes (Moshier), expf and logf; the
 * reductions of logarithms: FreeBSD msun's s_log1pf.c.
 *
 * Choices are made on bits, because compilers sink float arithmetic into the
 * arms of a ?: and then refuse to vectorise it. NaN gives NaN everywhere. The
 * ULP stated are the greatest over every float32, compiled without FMA.
 */
#ifndef GX_MATH_H
#define GX_MATH_H

#include <stdint.h>
#include <string.h>

#define GX_F32_SIGN UINT32_C(0x80000000)
#define GX_F32_INFINITY UINT32_C(0x7f800000)
#define GX_F32_NAN UINT32_C(0x7fc00000)
#define GX_F32_SQRT_HALF UINT32_C(0x3f3504f3) /* bits of sqrt(1/2) */

static inline uint32_t gx_bits_f32(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline float gx_from_bits_f32(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* x where c is 1, y where c is 0. */
static inline float gx_choose_f32(int c, float x, float y) {
  uint32_t mask = 0u - (uint32_t)c;
  return gx_from_bits_f32((gx_bits_f32(x) & mask) | (gx_bits_f32(y) & ~mask));
}

static inline float gx_magnitude_f32(float x) {
  return gx_from_bits_f32(gx_bits_f32(x) & ~GX_F32_SIGN);
}

/* y >= 0 with the sign of x. */
static inline float gx_with_sign_f32(float y, float x) {
  return gx_from_bits_f32(gx_bits_f32(y) | (gx_bits_f32(x) & GX_F32_SIGN));
}

/* 2**n for -126 <= n <= 127, taken modulo 2**32; any other n, such as a NaN
 * leaves behind, gives some float. */
static inline float gx_power_of_two_f32(uint32_t n) {
  return gx_from_bits_f32((n + 127u) << 23);
}

/* Split x = n ln 2 + r with |r| <= 0.35 and return expm1(r). |x| < 2**21; the
 * addition of 1.5 * 2**23 rounds to an integer and leaves it in the low bits.
 * ln 2 is split so that n times its first part is exact. */
static inline float gx_exp_parts_f32(float x, uint32_t *n) {
  const float magic = 0x1.8p23f;
  float shifted = x * 0x1.715476p0f + magic;
  float whole = shifted - magic;
  float r = (x - whole * 0x1.63p-1f) - whole * -0x1.bd0106p-13f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  *n = gx_bits_f32(shifted) - gx_bits_f32(magic);
  return p * r * r + r;
}

/* exp: 1.1 ULP. Scaled by two factors, since 2**n itself may be no float. */
static inline float gx_exp_f32(float x) {
  float a = gx_choose_f32(x > 89.0f, 89.0f, x);
  a = gx_choose_f32(a < -104.0f, -104.0f, a);
  uint32_t n;
  float p = gx_exp_parts_f32(a, &n) + 1.0f;
  uint32_t half = ((n + 1024u) >> 1) - 512u;
  return p * gx_power_of_two_f32(half) * gx_power_of_two_f32(n - half);
}

/* expm1(x) for x <= 89 and x >= -20; scaled by half of 2**n, which is a float
 * even where 2**n is not. */
static inline float gx_expm1_core_f32(float x) {
  uint32_t n;
  float p = gx_exp_parts_f32(x, &n);
  float scale = gx_power_of_two_f32(n - 1u);
  return 2.0f * (scale * p + (scale - 0.5f));
}

/* expm1: 1.7 ULP. The sign is set last, for -0.0. */
static inline float gx_expm1_f32(float x) {
  float a = gx_choose_f32(x > 89.0f, 89.0f, x);
  a = gx_choose_f32(a < -20.0f, -20.0f, a);
  return gx_with_sign_f32(gx_expm1_core_f32(a), x);
}

/* tanh: 2.5 ULP. e / (e + 2) with e = expm1(2|x|); 1 from |x| = 9.02 on. */
static inline float gx_tanh_f32(float x) {
  float a = 2.0f * gx_magnitude_f32(x);
  float e = gx_expm1_core_f32(gx_choose_f32(a > 20.0f, 20.0f, a));
  return gx_with_sign_f32(e / (e + 2.0f), x);
}

/* sigmoid: 2.5 ULP. exp never overflows, so both tails keep their digits. */
static inline float gx_sigmoid_f32(float x) {
  float e = gx_exp_f32(-gx_magnitude_f32(x));
  return gx_choose_f32(x < 0.0f, e, 1.0f) / (1.0f + e);
}

/* n ln 2 + log(1 + f) + c, where u = 2**k (1 + f) is normal and positive,
 * sqrt(1/2) <= 1 + f < sqrt(2), n = k + shift, and c is much smaller than u. */
static inline float gx_log_core_f32(float u, float c, int32_t shift) {
  uint32_t bits = gx_bits_f32(u) + (UINT32_C(0x3f800000) - GX_F32_SQRT_HALF);
  float n = (float)((int32_t)(bits >> 23) - 127 + shift);
  float f = gx_from_bits_f32((bits & UINT32_C(0x7fffff)) + GX_F32_SQRT_HALF);
  f -= 1.0f;
  float z = f * f;
  float p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  float low = p * f * z + n * -2.12194440e-4f + c - 0.5f * z;
  return (f + low) + n * 0.693359375f;
}

/* Replace y by what a logarithm is where u is 0, infinite, negative or NaN. */
static inline float gx_log_specials_f32(float u, float y) {
  const float infinity = gx_from_bits_f32(GX_F32_INFINITY);
  y = gx_choose_f32(u == 0.0f, -infinity, y);
  y = gx_choose_f32(u == infinity, infinity, y);
  return gx_choose_f32(u >= 0.0f, y, gx_from_bits_f32(GX_F32_NAN));
}

/* log: 0.9 ULP. Denormals are scaled up first. */
static inline float gx_log_f32(float x) {
  int tiny = x < 0x1p-126f;
  float u = gx_choose_f32(tiny, x * 0x1p24f, x);
  return gx_log_specials_f32(x, gx_log_core_f32(u, 0.0f, -24 * tiny));
}

/* log1p: 0.9 ULP. c is what the rounding of 1 + x lost, over 1 + x; the sign is
 * set last, for -0.0. */
static inline float gx_log1p_f32(float x) {
  float u = 1.0f + x;
  float from_x = x - (u - 1.0f);
  float from_one = 1.0f - (u - x);
  float lost = gx_choose_f32(x < 1.0f, from_x, from_one);
  float y = gx_log_specials_f32(u, gx_log_core_f32(u, lost / u, 0));
  return gx_with_sign_f32(y, x);
}

/* softplus: 2.8 ULP. max(x, 0) + log1p(e) with e = exp(-|x|) <= 1, where
 * log1p(e) = 2 atanh(s), s = e / (2 + e) <= 1/3, by a minimax polynomial. */
static inline float gx_softplus_f32(float x) {
  float e = gx_exp_f32(-gx_magnitude_f32(x));
  float s = e / (2.0f + e);
  float z = s * s;
  float p = 0x1.dba26p-4f;
  p = p * z + 0x1.bc8cf8p-4f;
  p = p * z + 0x1.24c926p-3f;
  p = p * z + 0x1.9998d4p-3f;
  p = p * z + 0x1.555556p-2f;
  float half = s + s * (z * p);
  return gx_choose_f32(x < 0.0f, 0.0f, x) + (half + half);
}

/* erf: 1.2 ULP. Coefficients: Juffa. Below 0.93 a polynomial in x**2, above it
 * 1 - exp(q(|x|)); from 3.92 on that rounds to 1. */
static inline float gx_erf_f32(float x) {
  float t = gx_magnitude_f32(x);
  int large = t > 0.927734375f;
  t = gx_choose_f32(t > 4.0f, 4.0f, t);
  float z = t * t;
  float q = -1.72853470e-5f * t + 3.83197126e-4f;
  q = q * z + (-3.88396438e-3f * t + 2.42546219e-2f);
  q = q * t - 1.06777877e-1f;
  q = q * t - 6.34846687e-1f;
  q = q * t - 1.28717512e-1f;
  uint32_t n;
  float e = gx_exp_parts_f32(q * t - t, &n) + 1.0f;
  float p = -5.96761703e-4f;
  p = p * z + 4.99119423e-3f;
  p = p * z - 2.67681349e-2f;
  p = p * z + 1.12819925e-1f;
  p = p * z - 3.76125336e-1f;
  p = p * z + 1.28379166e-1f;
  float y =
      gx_choose_f32(large, 1.0f - e * gx_power_of_two_f32(n), p * t + t);
  return gx_with_sign_f32(y, x);
}

#endif
