/* Two-dimensional convolution and its two adjoints, for f32 and f64.
 *
 * Holds the shape and its index arithmetic; the algorithm stands once in
 * gx_conv_real.h and is read here for each float type. Knows no layout other
 * than NCHW images and (m, c / groups, kh, kw) filters, and no bias.
 *
 * Cross-correlation with zero padding:
 *   y[n, m, oy, ox] = sum over c, i, j of w[m, c, i, j]
 *                     * x[n, c, oy sh - pt + i dh, ox sw - pl + j dw]
 * Bottom and right padding follow from oh and ow. Any size may be 0. Compile
 * with -ffp-contract=fast, as gx_gemm.h.
 */
#ifndef GX_CONV_H
#define GX_CONV_H

#include <stdint.h>

#include "gx_gemm.h"

/* c and m count all channels, those of every group. */
typedef struct {
  int64_t n, c, h, w, m, kh, kw, oh, ow, sh, sw, pt, pl, dh, dw, groups;
} gx_conv2d_shape;

/* Elements of one filter: the depth of the product. */
static inline int64_t gx_conv2d_taps(const gx_conv2d_shape *s) {
  return s->c / s->groups * s->kh * s->kw;
}

/* Whether a patch is a pixel, so that images need no rearranging. */
static inline int gx_conv2d_is_pointwise(const gx_conv2d_shape *s) {
  return s->kh == 1 && s->kw == 1 && s->sh == 1 && s->sw == 1 &&
         s->pt == 0 && s->pl == 0 && s->oh == s->h && s->ow == s->w;
}

/* The outputs o in [*first, *end) of `count` whose input o * step + start
 * lies inside [0, size). */
static inline void gx_conv2d_inside(int64_t start, int64_t step, int64_t size,
                                    int64_t count, int64_t *first,
                                    int64_t *end) {
  int64_t lo = start < 0 ? (-start + step - 1) / step : 0;
  int64_t hi = start < size ? (size - 1 - start) / step + 1 : 0;
  *first = gx_least(lo, count);
  hi = gx_least(hi, count);
  *end = hi > *first ? hi : *first;
}

#define GX_REAL float
#define GX_NAME(name) gx_##name##_f32
#include "gx_conv_real.h"
#undef GX_REAL
#undef GX_NAME

#define GX_REAL double
#define GX_NAME(name) gx_##name##_f64
#include "gx_conv_real.h"
#undef GX_REAL
#undef GX_NAME

#endif
