/* Two-dimensional maximum and average pools and their adjoints.
 *
 * Holds the shape and its index arithmetic; the loops stand once in
 * gx_pool_real.h and are read here for each float type. Knows planes of
 * (h, w), and not which of the leading axes they came from.
 */
#ifndef GX_POOL_H
#define GX_POOL_H

#include <math.h>
#include <stdint.h>

/* n counts planes: all leading axes together. pb and pr matter only to
 * include_pad: a window that ceil_mode lets stick out beyond the padding is
 * divided by the part of it that does not. */
typedef struct {
  int64_t n, h, w, kh, kw, oh, ow, sh, sw, pt, pl, pb, pr, dh, dw;
  int include_pad;
} gx_pool2d_shape;

/* The taps i in [first, end) of `count` whose position start + i * step lies
 * inside [low, high). */
typedef struct {
  int64_t first, end;
} gx_pool2d_span;

static inline gx_pool2d_span gx_pool2d_inside(int64_t start, int64_t step,
                                              int64_t count, int64_t low,
                                              int64_t high) {
  gx_pool2d_span span = {0, count};
  if (start >= low && start + (count - 1) * step < high) {
    return span; /* most windows; it saves two divisions */
  }
  span.first = start < low ? (low - start + step - 1) / step : 0;
  span.end = start < high ? (high - 1 - start) / step + 1 : 0;
  span.end = span.end < count ? span.end : count;
  span.first = span.first < span.end ? span.first : span.end;
  return span;
}

/* The taps of output row oy, or of output column ox, that are in the image. */
static inline gx_pool2d_span gx_pool2d_rows(const gx_pool2d_shape *s,
                                            int64_t oy) {
  return gx_pool2d_inside(oy * s->sh - s->pt, s->dh, s->kh, 0, s->h);
}

static inline gx_pool2d_span gx_pool2d_cols(const gx_pool2d_shape *s,
                                            int64_t ox) {
  return gx_pool2d_inside(ox * s->sw - s->pl, s->dw, s->kw, 0, s->w);
}

/* What the average of a window is divided by; 0 where it holds nothing. */
static inline int64_t gx_pool2d_divisor(const gx_pool2d_shape *s, int64_t oy,
                                        int64_t ox) {
  gx_pool2d_span i = gx_pool2d_rows(s, oy), j = gx_pool2d_cols(s, ox);
  if (s->include_pad) {
    i = gx_pool2d_inside(oy * s->sh - s->pt, s->dh, s->kh, -s->pt,
                         s->h + s->pb);
    j = gx_pool2d_inside(ox * s->sw - s->pl, s->dw, s->kw, -s->pl,
                         s->w + s->pr);
  }
  return (i.end - i.first) * (j.end - j.first);
}

/* Whether windows are adjacent 2 x 2 blocks wholly inside the image. */
static inline int gx_pool2d_is_halving(const gx_pool2d_shape *s) {
  return s->kh == 2 && s->kw == 2 && s->sh == 2 && s->sw == 2 &&
         s->dh == 1 && s->dw == 1 && s->pt == 0 && s->pl == 0 &&
         2 * s->oh <= s->h && 2 * s->ow <= s->w;
}

#define GX_REAL float
#define GX_NAME(name) gx_##name##_f32
#include "gx_pool_real.h"
#undef GX_REAL
#undef GX_NAME

#define GX_REAL double
#define GX_NAME(name) gx_##name##_f64
#include "gx_pool_real.h"
#undef GX_REAL
#undef GX_NAME

#endif
