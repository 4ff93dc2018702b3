/* Casts between the eight dtypes: gx_cast_<from>_<to>.
 *
 * Holds graphc's rule for each pair and nothing else. A float becomes an
 * integer by truncation, saturating, with NaN giving 0; an integer becomes an
 * integer by wrapping; what becomes a bool is "not zero" (so NaN is 1).
 */
#ifndef GX_CAST_H
#define GX_CAST_H

#include <stdint.h>

#define GX_CAST(FROM, from, TO, to)                                          \
  static inline TO gx_cast_##from##_##to(FROM x) { return (TO)x; }

#define GX_CAST_TO_BOOL(FROM, from)                                          \
  static inline uint8_t gx_cast_##from##_b(FROM x) { return x != 0; }

/* The type's least value is a float, one past its greatest value is a float;
 * the greatest value itself need not be. The number that is converted is
 * always in range, whichever answer is then taken. */
#define GX_CAST_SATURATED(FROM, from, TO, to, least, greatest, past)         \
  static inline TO gx_cast_##from##_##to(FROM x) {                           \
    int inside = (x > (FROM)(least)) & (x < (FROM)(past));                   \
    TO y = (TO)(inside ? x : (FROM)0);                                       \
    y = x <= (FROM)(least) ? (TO)(least) : y;                                \
    return x >= (FROM)(past) ? (TO)(greatest) : y;                           \
  }

#define GX_CASTS_FROM_FLOAT(FROM, from)                                      \
  GX_CAST(FROM, from, float, f32)                                            \
  GX_CAST(FROM, from, double, f64)                                           \
  GX_CAST_SATURATED(FROM, from, int32_t, i32, INT32_MIN, INT32_MAX, 0x1p31)  \
  GX_CAST_SATURATED(FROM, from, int64_t, i64, INT64_MIN, INT64_MAX, 0x1p63)  \
  GX_CAST_SATURATED(FROM, from, uint8_t, u8, 0, UINT8_MAX, 0x1p8)            \
  GX_CAST_SATURATED(FROM, from, uint32_t, u32, 0, UINT32_MAX, 0x1p32)        \
  GX_CAST_SATURATED(FROM, from, uint64_t, u64, 0, UINT64_MAX, 0x1p64)        \
  GX_CAST_TO_BOOL(FROM, from)

#define GX_CASTS_FROM_INTEGER(FROM, from)                                    \
  GX_CAST(FROM, from, float, f32)                                            \
  GX_CAST(FROM, from, double, f64)                                           \
  GX_CAST(FROM, from, int32_t, i32)                                          \
  GX_CAST(FROM, from, int64_t, i64)                                          \
  GX_CAST(FROM, from, uint8_t, u8)                                           \
  GX_CAST(FROM, from, uint32_t, u32)                                         \
  GX_CAST(FROM, from, uint64_t, u64)                                         \
  GX_CAST_TO_BOOL(FROM, from)

GX_CASTS_FROM_FLOAT(float, f32)
GX_CASTS_FROM_FLOAT(double, f64)
GX_CASTS_FROM_INTEGER(int32_t, i32)
GX_CASTS_FROM_INTEGER(int64_t, i64)
GX_CASTS_FROM_INTEGER(uint8_t, u8)
GX_CASTS_FROM_INTEGER(uint32_t, u32)
GX_CASTS_FROM_INTEGER(uint64_t, u64)
GX_CASTS_FROM_INTEGER(uint8_t, b)

#undef GX_CAST
#undef GX_CAST_TO_BOOL
#undef GX_CAST_SATURATED
#undef GX_CASTS_FROM_FLOAT
#undef GX_CASTS_FROM_INTEGER

#endif
