/* The pools of one float type; read by gx_pool.h for each.
 *
 * Holds the loops. GX_REAL is the type, GX_NAME(name) puts its suffix on a
 * name. No include guard, on purpose.
 */

/* Whether y takes the place of the winner x that came before it: it is larger,
 * or the first NaN. */
static inline int GX_NAME(pool2d_beats)(GX_REAL y, GX_REAL x) {
  return (y > x) | ((y != y) & (x == x));
}

/* Where in the plane x the winner of a window is, or -1 if the window lies
 * wholly in the padding. Arithmetic and not branches, since data decides. */
static inline int64_t GX_NAME(pool2d_winner)(const gx_pool2d_shape *s,
                                             const GX_REAL *x, int64_t oy,
                                             int64_t ox) {
  gx_pool2d_span rows = gx_pool2d_rows(s, oy), cols = gx_pool2d_cols(s, ox);
  if (rows.first >= rows.end || cols.first >= cols.end) {
    return -1;
  }
  int64_t top = oy * s->sh - s->pt, left = ox * s->sw - s->pl;
  int64_t winner =
      (top + rows.first * s->dh) * s->w + left + cols.first * s->dw;
  for (int64_t i = rows.first; i < rows.end; i++) {
    int64_t row = (top + i * s->dh) * s->w + left;
    for (int64_t j = cols.first; j < cols.end; j++) {
      int64_t at = row + j * s->dw;
      winner += (at - winner) * GX_NAME(pool2d_beats)(x[at], x[winner]);
    }
  }
  return winner;
}

/* The same for adjacent 2 x 2 blocks inside the image. */
static inline int64_t GX_NAME(pool2d_winner_of_four)(int64_t w,
                                                     const GX_REAL *x,
                                                     int64_t oy, int64_t ox) {
  int64_t upper = 2 * oy * w + 2 * ox, lower = upper + w;
  upper += GX_NAME(pool2d_beats)(x[upper + 1], x[upper]);
  lower += GX_NAME(pool2d_beats)(x[lower + 1], x[lower]);
  return upper + (lower - upper) * GX_NAME(pool2d_beats)(x[lower], x[upper]);
}

/* The greater, the first of equals, or a NaN. One comparison a choice: that is
 * what compilers vectorise. */
static inline GX_REAL GX_NAME(pool2d_greater)(GX_REAL x, GX_REAL y) {
  GX_REAL z = x < y ? y : x;
  return y != y ? y : z;
}

static inline void GX_NAME(pool2d_max_row)(int64_t ow, int64_t w,
                                           const GX_REAL *x,
                                           GX_REAL *restrict y) {
  for (int64_t i = 0; i < ow; i++) {
    GX_REAL a = x[2 * i], b = x[2 * i + 1];
    GX_REAL c = x[w + 2 * i], d = x[w + 2 * i + 1];
    y[i] = GX_NAME(pool2d_greater)(GX_NAME(pool2d_greater)(a, b),
                                   GX_NAME(pool2d_greater)(c, d));
  }
}

/* The greatest of a window; -inf if it holds nothing. */
static inline GX_REAL GX_NAME(pool2d_greatest)(const gx_pool2d_shape *s,
                                               const GX_REAL *x, int64_t oy,
                                               int64_t ox) {
  gx_pool2d_span rows = gx_pool2d_rows(s, oy), cols = gx_pool2d_cols(s, ox);
  GX_REAL max = -(GX_REAL)INFINITY;
  for (int64_t i = rows.first; i < rows.end; i++) {
    const GX_REAL *row = x + (oy * s->sh - s->pt + i * s->dh) * s->w;
    for (int64_t j = cols.first; j < cols.end; j++) {
      GX_REAL next = row[ox * s->sw - s->pl + j * s->dw];
      max = GX_NAME(pool2d_greater)(max, next);
    }
  }
  return max;
}

/* y = the greatest of each window; -inf where a window holds nothing. */
static inline void GX_NAME(max_pool2d)(const gx_pool2d_shape *s,
                                       const GX_REAL *x, GX_REAL *restrict y) {
  int halving = gx_pool2d_is_halving(s);
  for (int64_t n = 0; n < s->n; n++, x += s->h * s->w) {
    for (int64_t oy = 0; oy < s->oh; oy++, y += s->ow) {
      if (halving) {
        GX_NAME(pool2d_max_row)(s->ow, s->w, x + 2 * oy * s->w, y);
        continue;
      }
      for (int64_t ox = 0; ox < s->ow; ox++) {
        y[ox] = GX_NAME(pool2d_greatest)(s, x, oy, ox);
      }
    }
  }
}

/* dx = the gradient of sum(g * max_pool2d(x)): each g goes to its winner. */
static inline void GX_NAME(max_pool2d_adjoint)(const gx_pool2d_shape *s,
                                               const GX_REAL *x,
                                               const GX_REAL *g,
                                               GX_REAL *restrict dx) {
  int halving = gx_pool2d_is_halving(s);
  int64_t plane = s->h * s->w;
  for (int64_t n = 0; n < s->n; n++, x += plane, dx += plane) {
    for (int64_t i = 0; i < plane; i++) {
      dx[i] = 0;
    }
    for (int64_t oy = 0; oy < s->oh; oy++, g += s->ow) {
      for (int64_t ox = 0; ox < s->ow && halving; ox++) {
        dx[GX_NAME(pool2d_winner_of_four)(s->w, x, oy, ox)] += g[ox];
      }
      for (int64_t ox = 0; ox < s->ow && !halving; ox++) {
        int64_t at = GX_NAME(pool2d_winner)(s, x, oy, ox);
        if (at >= 0) {
          dx[at] += g[ox];
        }
      }
    }
  }
}

/* y = v where x has its winner; 0 where a window holds nothing. */
static inline void GX_NAME(max_pool2d_select)(const gx_pool2d_shape *s,
                                              const GX_REAL *x,
                                              const GX_REAL *v,
                                              GX_REAL *restrict y) {
  int halving = gx_pool2d_is_halving(s);
  int64_t plane = s->h * s->w;
  for (int64_t n = 0; n < s->n; n++, x += plane, v += plane) {
    for (int64_t oy = 0; oy < s->oh; oy++, y += s->ow) {
      for (int64_t ox = 0; ox < s->ow && halving; ox++) {
        y[ox] = v[GX_NAME(pool2d_winner_of_four)(s->w, x, oy, ox)];
      }
      for (int64_t ox = 0; ox < s->ow && !halving; ox++) {
        int64_t at = GX_NAME(pool2d_winner)(s, x, oy, ox);
        y[ox] = at < 0 ? 0 : v[at];
      }
    }
  }
}

/* The average and its adjoint for one row of adjacent 2 x 2 blocks. */

static inline void GX_NAME(pool2d_average_row)(int64_t ow, int64_t w,
                                               const GX_REAL *x,
                                               GX_REAL *restrict y) {
  for (int64_t i = 0; i < ow; i++) {
    GX_REAL upper = x[2 * i] + x[2 * i + 1];
    GX_REAL lower = x[w + 2 * i] + x[w + 2 * i + 1];
    y[i] = (upper + lower) * (GX_REAL)0.25;
  }
}

static inline void GX_NAME(pool2d_spread_row)(int64_t ow, int64_t w,
                                              const GX_REAL *g,
                                              GX_REAL *restrict dx) {
  for (int64_t i = 0; i < ow; i++) {
    GX_REAL share = g[i] * (GX_REAL)0.25;
    dx[2 * i] = share;
    dx[2 * i + 1] = share;
    dx[w + 2 * i] = share;
    dx[w + 2 * i + 1] = share;
  }
}

static inline GX_REAL GX_NAME(pool2d_average)(const gx_pool2d_shape *s,
                                              const GX_REAL *x, int64_t oy,
                                              int64_t ox) {
  gx_pool2d_span rows = gx_pool2d_rows(s, oy), cols = gx_pool2d_cols(s, ox);
  int64_t divisor = gx_pool2d_divisor(s, oy, ox);
  GX_REAL sum = 0;
  for (int64_t i = rows.first; i < rows.end; i++) {
    const GX_REAL *row = x + (oy * s->sh - s->pt + i * s->dh) * s->w;
    for (int64_t j = cols.first; j < cols.end; j++) {
      sum += row[ox * s->sw - s->pl + j * s->dw];
    }
  }
  return divisor == 0 ? 0 : sum / (GX_REAL)divisor;
}

/* y = the average of each window; 0 where its divisor is. */
static inline void GX_NAME(avg_pool2d)(const gx_pool2d_shape *s,
                                       const GX_REAL *x, GX_REAL *restrict y) {
  int halving = gx_pool2d_is_halving(s);
  for (int64_t n = 0; n < s->n; n++, x += s->h * s->w) {
    for (int64_t oy = 0; oy < s->oh; oy++, y += s->ow) {
      if (halving) {
        GX_NAME(pool2d_average_row)(s->ow, s->w, x + 2 * oy * s->w, y);
        continue;
      }
      for (int64_t ox = 0; ox < s->ow; ox++) {
        y[ox] = GX_NAME(pool2d_average)(s, x, oy, ox);
      }
    }
  }
}

/* Add the share of one output's cotangent to its window. */
static inline void GX_NAME(pool2d_spread)(const gx_pool2d_shape *s, GX_REAL g,
                                          int64_t oy, int64_t ox,
                                          GX_REAL *restrict dx) {
  gx_pool2d_span rows = gx_pool2d_rows(s, oy), cols = gx_pool2d_cols(s, ox);
  int64_t divisor = gx_pool2d_divisor(s, oy, ox);
  if (divisor == 0) {
    return;
  }
  GX_REAL share = g / (GX_REAL)divisor;
  for (int64_t i = rows.first; i < rows.end; i++) {
    GX_REAL *row = dx + (oy * s->sh - s->pt + i * s->dh) * s->w;
    for (int64_t j = cols.first; j < cols.end; j++) {
      row[ox * s->sw - s->pl + j * s->dw] += share;
    }
  }
}

/* dx = the gradient of sum(g * avg_pool2d(x)) by x */
static inline void GX_NAME(avg_pool2d_adjoint)(const gx_pool2d_shape *s,
                                               const GX_REAL *g,
                                               GX_REAL *restrict dx) {
  int halving = gx_pool2d_is_halving(s);
  int64_t plane = s->h * s->w;
  for (int64_t n = 0; n < s->n; n++, dx += plane) {
    for (int64_t i = 0; i < plane; i++) {
      dx[i] = 0;
    }
    for (int64_t oy = 0; oy < s->oh; oy++, g += s->ow) {
      if (halving) {
        GX_NAME(pool2d_spread_row)(s->ow, s->w, g, dx + 2 * oy * s->w);
        continue;
      }
      for (int64_t ox = 0; ox < s->ow; ox++) {
        GX_NAME(pool2d_spread)(s, g[ox], oy, ox, dx);
      }
    }
  }
}
