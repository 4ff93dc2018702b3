/* The reductions of one float type; read by gx_reduce.h for each.
 *
 * Holds the loops. GX_REAL is the type, GX_NAME(name) puts its suffix on a
 * name. No include guard, on purpose.
 */

/* The sum of at most GX_SUM_CHUNK terms, in several lanes at once. */
static inline GX_REAL GX_NAME(sum_chunk)(const GX_REAL *p, int64_t n,
                                         int64_t stride) {
  GX_REAL lane[GX_SUM_LANES] = {0};
  int64_t rest = n % GX_SUM_LANES, whole = n - rest;
  for (int64_t i = 0; i < whole; i += GX_SUM_LANES) {
    for (int k = 0; k < GX_SUM_LANES; k++) {
      lane[k] += p[(i + k) * stride];
    }
  }
  for (int64_t k = 0; k < rest; k++) {
    lane[k] += p[(whole + k) * stride];
  }
  for (int width = GX_SUM_LANES / 2; width > 0; width /= 2) {
    for (int k = 0; k < width; k++) {
      lane[k] += lane[k + width];
    }
  }
  return lane[0];
}

/* The error is at most (n / 2048 + 70) half-ULPs of the sum of magnitudes. */
static inline GX_REAL GX_NAME(sum)(const GX_REAL *p, int64_t n,
                                   int64_t stride) {
  GX_REAL sum = 0;
  for (int64_t i = 0; i < n; i += GX_SUM_CHUNK) {
    int64_t count = n - i < GX_SUM_CHUNK ? n - i : GX_SUM_CHUNK;
    if (stride == 1) { /* a constant, so that the loop vectorises */
      sum += GX_NAME(sum_chunk)(p + i, count, 1);
    } else {
      sum += GX_NAME(sum_chunk)(p + i * stride, count, stride);
    }
  }
  return sum;
}

/* The greatest of n >= 1 elements; a NaN wins. */
static inline GX_REAL GX_NAME(max)(const GX_REAL *p, int64_t n,
                                   int64_t stride) {
  GX_REAL lane[GX_SUM_LANES];
  int64_t rest = n % GX_SUM_LANES, whole = n - rest;
  for (int k = 0; k < GX_SUM_LANES; k++) {
    lane[k] = p[0];
  }
  for (int64_t i = 0; i < whole; i += GX_SUM_LANES) {
    for (int k = 0; k < GX_SUM_LANES; k++) {
      lane[k] = GX_NAME(maximum)(lane[k], p[(i + k) * stride]);
    }
  }
  for (int64_t k = 0; k < rest; k++) {
    lane[k] = GX_NAME(maximum)(lane[k], p[(whole + k) * stride]);
  }
  GX_REAL max = lane[0];
  for (int k = 1; k < GX_SUM_LANES; k++) {
    max = GX_NAME(maximum)(max, lane[k]);
  }
  return max;
}

/* Where the first maximum of n >= 1 elements is; a NaN is one. */
static inline int64_t GX_NAME(argmax)(const GX_REAL *p, int64_t n,
                                      int64_t stride) {
  GX_REAL max = GX_NAME(max)(p, n, stride);
  int64_t i = 0;
  if (max != max) {
    while (p[i * stride] == p[i * stride]) {
      i++;
    }
    return i;
  }
  while (p[i * stride] != max) {
    i++;
  }
  return i;
}

/* log(sum(exp(p))), with the maximum taken out so that nothing overflows. */
static inline GX_REAL GX_NAME(logsumexp)(const GX_REAL *p, int64_t n,
                                         int64_t stride) {
  const GX_REAL infinity = (GX_REAL)INFINITY;
  if (n <= 0) {
    return -infinity;
  }
  GX_REAL max = GX_NAME(max)(p, n, stride);
  if (!(max > -infinity && max < infinity)) {
    return max; /* NaN, or an infinity that stands for the sum */
  }
  GX_REAL sum = 0;
  for (int64_t i = 0; i < n; i += GX_EXP_TILE) {
    GX_REAL term[GX_EXP_TILE];
    int64_t count = n - i < GX_EXP_TILE ? n - i : GX_EXP_TILE;
    for (int64_t k = 0; k < count; k++) {
      term[k] = GX_NAME(exp)(p[(i + k) * stride] - max);
    }
    sum += GX_NAME(sum_chunk)(term, count, 1);
  }
  return max + GX_NAME(log)(sum);
}
