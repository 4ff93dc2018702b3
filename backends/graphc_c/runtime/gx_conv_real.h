/* The convolutions of one float type; read by gx_conv.h for each.
 *
 * Holds the rearranging of images into matrices and the products. GX_REAL is
 * the type, GX_NAME(name) puts its suffix on a name. No include guard, on
 * purpose.
 *
 * The patches of one image and group form a matrix with a row for each tap
 * (c, i, j) and a column for each output pixel. Its rows are padded with zeros
 * to whole vectors, so that the product reads it where it is.
 */

/* Elements from one row of the patch matrix to the next. */
static inline int64_t GX_NAME(conv2d_pitch)(const gx_conv2d_shape *s) {
  return gx_round_up(s->oh * s->ow, GX_NAME(lanes));
}

static inline void GX_NAME(conv2d_zero)(GX_REAL *y, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    y[i] = 0;
  }
}

/* One row of the patch matrix: the plane x as the tap (i, j) sees it. */
static inline void GX_NAME(conv2d_gather)(const gx_conv2d_shape *s, int64_t i,
                                          int64_t j, const GX_REAL *x,
                                          GX_REAL *restrict row) {
  int64_t first, end, step = s->sw;
  int64_t start = j * s->dw - s->pl;
  gx_conv2d_inside(start, step, s->w, s->ow, &first, &end);
  for (int64_t oy = 0; oy < s->oh; oy++, row += s->ow) {
    int64_t y = oy * s->sh - s->pt + i * s->dh;
    if (y < 0 || y >= s->h || first == end) {
      GX_NAME(conv2d_zero)(row, s->ow);
      continue;
    }
    const GX_REAL *from = x + y * s->w;
    for (int64_t ox = 0; ox < first; ox++) {
      row[ox] = 0;
    }
    if (step == 1) {
      for (int64_t ox = first; ox < end; ox++) {
        row[ox] = from[ox + start];
      }
    } else {
      for (int64_t ox = first; ox < end; ox++) {
        row[ox] = from[ox * step + start];
      }
    }
    for (int64_t ox = end; ox < s->ow; ox++) {
      row[ox] = 0;
    }
  }
}

/* The reverse: add a row of the patch matrix to where it came from. */
static inline void GX_NAME(conv2d_scatter)(const gx_conv2d_shape *s,
                                           int64_t i, int64_t j,
                                           const GX_REAL *row,
                                           GX_REAL *restrict x) {
  int64_t first, end, step = s->sw;
  int64_t start = j * s->dw - s->pl;
  gx_conv2d_inside(start, step, s->w, s->ow, &first, &end);
  for (int64_t oy = 0; oy < s->oh; oy++, row += s->ow) {
    int64_t y = oy * s->sh - s->pt + i * s->dh;
    if (y < 0 || y >= s->h) {
      continue;
    }
    GX_REAL *to = x + y * s->w;
    if (step == 1) {
      for (int64_t ox = first; ox < end; ox++) {
        to[ox + start] += row[ox];
      }
    } else {
      for (int64_t ox = first; ox < end; ox++) {
        to[ox * step + start] += row[ox];
      }
    }
  }
}

/* The patch matrix of the channels of one group of one image. For a pointwise
 * convolution that is x itself, and nothing is copied. */
static inline GX_NAME(matrix) GX_NAME(conv2d_patches)(
    const gx_conv2d_shape *s, const GX_REAL *x, GX_REAL *to) {
  int64_t pixels = s->oh * s->ow, pitch = GX_NAME(conv2d_pitch)(s);
  if (gx_conv2d_is_pointwise(s)) {
    return (GX_NAME(matrix)){x, pixels, 1};
  }
  GX_REAL *row = to;
  for (int64_t c = 0; c < s->c / s->groups; c++) {
    for (int64_t i = 0; i < s->kh; i++) {
      for (int64_t j = 0; j < s->kw; j++) {
        GX_NAME(conv2d_gather)(s, i, j, x + c * s->h * s->w, row);
        GX_NAME(conv2d_zero)(row + pixels, pitch - pixels);
        row += pitch;
      }
    }
  }
  return (GX_NAME(matrix)){to, pitch, 1};
}

/* Elements of work that each of the three convolutions needs. */
static inline int64_t GX_NAME(conv2d_work)(const gx_conv2d_shape *s) {
  int64_t taps = gx_conv2d_taps(s), filters = s->m / s->groups;
  int64_t pixels = s->oh * s->ow;
  int64_t forward = GX_NAME(gemm_work)(filters, pixels, taps);
  int64_t input = GX_NAME(gemm_work)(taps, pixels, filters);
  int64_t filter = GX_NAME(gemm_work)(taps, filters, pixels);
  int64_t most = forward > input ? forward : input;
  most = most > filter ? most : filter;
  return most + taps * GX_NAME(conv2d_pitch)(s) + taps * filters;
}

/* y = x * w */
static inline void GX_NAME(conv2d)(const gx_conv2d_shape *s, const GX_REAL *x,
                                   const GX_REAL *w, GX_REAL *y,
                                   GX_REAL *work) {
  int64_t taps = gx_conv2d_taps(s), pixels = s->oh * s->ow;
  int64_t filters = s->m / s->groups;
  int64_t image = s->c / s->groups * s->h * s->w;
  GX_REAL *rest = work + taps * GX_NAME(conv2d_pitch)(s);
  for (int64_t i = 0; i < s->n * s->groups; i++) {
    GX_NAME(matrix) filter = {w + i % s->groups * filters * taps, taps, 1};
    GX_NAME(matrix) patches =
        GX_NAME(conv2d_patches)(s, x + i * image, work);
    GX_NAME(gemm_readable)(filters, pixels, taps, filter, patches,
                           patches.row, y + i * filters * pixels, pixels, 0,
                           rest);
  }
}

/* dx = the gradient of sum(g * conv2d(x, w)) by x */
static inline void GX_NAME(conv2d_input_adjoint)(const gx_conv2d_shape *s,
                                                 const GX_REAL *g,
                                                 const GX_REAL *w,
                                                 GX_REAL *dx, GX_REAL *work) {
  int64_t taps = gx_conv2d_taps(s), pixels = s->oh * s->ow;
  int64_t filters = s->m / s->groups, channels = s->c / s->groups;
  int64_t pitch = GX_NAME(conv2d_pitch)(s);
  int pointwise = gx_conv2d_is_pointwise(s);
  for (int64_t i = 0; i < s->n * s->groups; i++) {
    GX_NAME(matrix) filter = {w + i % s->groups * filters * taps, 1, taps};
    GX_NAME(matrix) cotangent = {g + i * filters * pixels, pixels, 1};
    GX_REAL *image = dx + i * channels * s->h * s->w;
    GX_REAL *row = pointwise ? image : work;
    GX_NAME(gemm_readable)(taps, pixels, filters, filter, cotangent, pixels,
                           row, pointwise ? pixels : pitch, 0,
                           work + taps * pitch);
    if (pointwise) {
      continue;
    }
    GX_NAME(conv2d_zero)(image, channels * s->h * s->w);
    for (int64_t t = 0; t < taps; t++, row += pitch) {
      GX_NAME(conv2d_scatter)(s, t / s->kw % s->kh, t % s->kw, row,
                              image + t / (s->kh * s->kw) * s->h * s->w);
    }
  }
}

/* dw = the gradient of sum(g * conv2d(x, w)) by w. Summed as taps x filters,
 * since the patches are then read along their rows and only g, which is
 * smaller, is transposed. */
static inline void GX_NAME(conv2d_filter_adjoint)(const gx_conv2d_shape *s,
                                                  const GX_REAL *x,
                                                  const GX_REAL *g,
                                                  GX_REAL *dw,
                                                  GX_REAL *work) {
  int64_t taps = gx_conv2d_taps(s), pixels = s->oh * s->ow;
  int64_t filters = s->m / s->groups;
  int64_t image = s->c / s->groups * s->h * s->w;
  GX_REAL *sums = work + taps * GX_NAME(conv2d_pitch)(s);
  GX_REAL *rest = sums + taps * filters;
  for (int64_t group = 0; group < s->groups; group++) {
    GX_NAME(conv2d_zero)(sums, taps * filters);
    for (int64_t n = 0; n < s->n; n++) {
      int64_t i = n * s->groups + group;
      GX_NAME(matrix) patches =
          GX_NAME(conv2d_patches)(s, x + i * image, work);
      GX_NAME(matrix) cotangent = {g + i * filters * pixels, 1, pixels};
      GX_NAME(gemm_readable)(taps, filters, pixels, patches, cotangent,
                             filters, sums, filters, 1, rest);
    }
    for (int64_t m = 0; m < filters; m++) {
      for (int64_t t = 0; t < taps; t++) {
        *dw++ = sums[t * filters + m];
      }
    }
  }
}
