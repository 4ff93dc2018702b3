/* The matrix product of one float type; read by gx_gemm.h for each.
 *
 * Holds the register tile, the packing and the blocking. GX_REAL is the type,
 * GX_NAME(name) puts its suffix on a name. No include guard, on purpose.
 *
 * A tile of C, 6 rows by up to 4 vectors, is summed in registers over a block
 * of the depth. Panels of A and B are copied into work, in the order in which
 * the tile reads them, where they are read often enough to pay for it or where
 * a vector could not be loaded from where they are.
 */

enum { GX_NAME(lanes) = GX_VECTOR_BYTES / (int)sizeof(GX_REAL) };
enum { GX_NAME(tile_cols) = GX_TILE_VECTORS * GX_NAME(lanes) };

/* One operand as the tile reads it. */
typedef struct {
  const GX_REAL *at;
  int64_t row, col;
} GX_NAME(matrix);

#if defined(__GNUC__) && !defined(GX_NO_VECTORS)

/* Unaligned, since the rows of an unpacked matrix start anywhere. */
typedef GX_REAL GX_NAME(vector)
    __attribute__((vector_size(GX_VECTOR_BYTES), aligned(sizeof(GX_REAL)),
                   may_alias));

/* out (=|+=) a b for rows x (vectors * lanes); rows and vectors are constants
 * after inlining, so that acc lives in registers. */
__attribute__((always_inline)) static inline void GX_NAME(tile)(
    const int rows, const int vectors, int64_t depth,
    const GX_REAL *const *a, int64_t a_col, const GX_REAL *b, int64_t b_row,
    GX_REAL *out, int64_t out_row, int add) {
  GX_NAME(vector) acc[GX_TILE_ROWS][GX_TILE_VECTORS];
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
      acc[r][v] = (GX_NAME(vector)){0};
    }
  }
  for (int64_t p = 0; p < depth; p++) {
    const GX_REAL *row = b + p * b_row;
    GX_NAME(vector) w[GX_TILE_VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
      w[v] = *(const GX_NAME(vector) *)(row + v * GX_NAME(lanes));
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
      GX_REAL x = a[r][p * a_col];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) {
        acc[r][v] += x * w[v];
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
      GX_REAL *to = out + r * out_row + v * GX_NAME(lanes);
      GX_NAME(vector) sum = acc[r][v];
      if (add) {
        sum += *(const GX_NAME(vector) *)to;
      }
      *(GX_NAME(vector) *)to = sum;
    }
  }
}

/* The same for rows and vectors known at run time only. */
static inline void GX_NAME(tile_of)(int rows, int vectors, int64_t depth,
                                    const GX_REAL *const *a, int64_t a_col,
                                    const GX_REAL *b, int64_t b_row,
                                    GX_REAL *out, int64_t out_row, int add) {
#define GX_TILE_CASE(R, V)                                                   \
  case (R) * 8 + (V):                                                        \
    GX_NAME(tile)(R, V, depth, a, a_col, b, b_row, out, out_row, add);       \
    break
  switch ((rows > 4 ? 6 : rows > 2 ? 4 : 2) * 8 + vectors) {
    GX_TILE_CASE(6, 1);
    GX_TILE_CASE(6, 2);
    GX_TILE_CASE(4, 1);
    GX_TILE_CASE(4, 2);
    GX_TILE_CASE(2, 1);
    GX_TILE_CASE(2, 2);
#if GX_TILE_VECTORS == 4
    GX_TILE_CASE(6, 3);
    GX_TILE_CASE(6, 4);
    GX_TILE_CASE(4, 3);
    GX_TILE_CASE(4, 4);
    GX_TILE_CASE(2, 3);
    GX_TILE_CASE(2, 4);
#endif
  }
#undef GX_TILE_CASE
}

#else /* plain C11, for any compiler or on demand */

static inline void GX_NAME(tile_of)(int rows, int vectors, int64_t depth,
                                    const GX_REAL *const *a, int64_t a_col,
                                    const GX_REAL *b, int64_t b_row,
                                    GX_REAL *out, int64_t out_row, int add) {
  int rounded = rows > 4 ? 6 : rows > 2 ? 4 : 2;
  int cols = vectors * GX_NAME(lanes);
  for (int r = 0; r < rounded; r++) {
    GX_REAL *to = out + r * out_row;
    for (int j = 0; j < cols && !add; j++) {
      to[j] = 0;
    }
    for (int64_t p = 0; p < depth; p++) {
      GX_REAL x = a[r][p * a_col];
      for (int j = 0; j < cols; j++) {
        to[j] += x * b[p * b_row + j];
      }
    }
  }
}

#endif

/* One tile of C with `rows` rows and `cols` columns that count. What the tile
 * computes beyond them goes to a buffer: rows past the last repeat the last,
 * so nothing is read that is not there. */
static inline void GX_NAME(corner)(int rows, int cols, int64_t depth,
                                   GX_NAME(matrix) a, GX_NAME(matrix) b,
                                   GX_REAL *c, int64_t c_row, int add) {
  const GX_REAL *a_rows[GX_TILE_ROWS];
  for (int r = 0; r < GX_TILE_ROWS; r++) {
    a_rows[r] = a.at + (r < rows ? r : rows - 1) * a.row;
  }
  int vectors = (cols + GX_NAME(lanes) - 1) / GX_NAME(lanes);
  if (rows % 2 == 0 && cols == vectors * GX_NAME(lanes)) {
    GX_NAME(tile_of)(rows, vectors, depth, a_rows, a.col, b.at, b.row, c,
                     c_row, add);
    return;
  }
  GX_REAL tile[GX_TILE_ROWS * GX_NAME(tile_cols)];
  GX_NAME(tile_of)(rows, vectors, depth, a_rows, a.col, b.at, b.row, tile,
                   GX_NAME(tile_cols), 0);
  for (int r = 0; r < rows; r++) {
    const GX_REAL *from = tile + r * GX_NAME(tile_cols);
    GX_REAL *to = c + r * c_row;
    for (int j = 0; j < cols; j++) {
      to[j] = add ? to[j] + from[j] : from[j];
    }
  }
}

/* Copy A in panels of 6 rows, depth-major; the last panel repeats rows. */
static inline void GX_NAME(pack_a)(int64_t rows, int64_t depth,
                                   GX_NAME(matrix) a,
                                   GX_REAL *restrict to) {
  for (int64_t i = 0; i < rows; i += GX_TILE_ROWS) {
    for (int r = 0; r < GX_TILE_ROWS; r++) {
      const GX_REAL *from = a.at + gx_least(i + r, rows - 1) * a.row;
      for (int64_t p = 0; p < depth; p++) {
        to[p * GX_TILE_ROWS + r] = from[p * a.col];
      }
    }
    to += GX_TILE_ROWS * depth;
  }
}

/* Copy `cols` columns of B, depth-major, into rows of `width`; zeros fill. */
static inline void GX_NAME(pack_b)(int64_t depth, int cols, int width,
                                   GX_NAME(matrix) b,
                                   GX_REAL *restrict to) {
  if (b.col == 1) {
    for (int64_t p = 0; p < depth; p++) {
      for (int j = 0; j < cols; j++) {
        to[p * width + j] = b.at[p * b.row + j];
      }
    }
  } else {
    for (int j = 0; j < cols; j++) {
      const GX_REAL *from = b.at + j * b.col;
      for (int64_t p = 0; p < depth; p++) {
        to[p * width + j] = from[p * b.row];
      }
    }
  }
  for (int64_t p = 0; p < depth && cols < width; p++) {
    for (int j = cols; j < width; j++) {
      to[p * width + j] = 0;
    }
  }
}

/* C[:rows, :cols] (=|+=) A B for one panel of B. */
static inline void GX_NAME(panel)(int64_t rows, int cols, int64_t depth,
                                  GX_NAME(matrix) a, int packed_a,
                                  GX_NAME(matrix) b, GX_REAL *c,
                                  int64_t c_row, int add) {
  for (int64_t i = 0; i < rows; i += GX_TILE_ROWS) {
    GX_NAME(matrix) part = {a.at + i * (packed_a ? depth : a.row), a.row,
                            a.col};
    GX_NAME(corner)((int)gx_least(GX_TILE_ROWS, rows - i), cols, depth, part,
                    b, c + i * c_row, c_row, add);
  }
}

/* C (=|+=) A B for one block of the depth and of the columns. `readable` is
 * how many columns of B may be loaded, counted from its first. */
static inline void GX_NAME(block)(int64_t m, int64_t n, int64_t depth,
                                  GX_NAME(matrix) a, GX_NAME(matrix) b,
                                  int64_t readable, int pack_b, GX_REAL *c,
                                  int64_t c_row, int add, GX_REAL *work) {
  const int wide = GX_NAME(tile_cols), lanes = GX_NAME(lanes);
  GX_REAL *packed_b = work + GX_BLOCK_ROWS * GX_BLOCK_DEPTH;
  int pack_a = n >= 2 * wide && m > 1;
  for (int64_t i = 0; i < m; i += GX_BLOCK_ROWS) {
    int64_t rows = gx_least(GX_BLOCK_ROWS, m - i);
    GX_NAME(matrix) left = {a.at + i * a.row, a.row, a.col};
    if (pack_a) {
      GX_NAME(pack_a)(rows, depth, left, work);
      left = (GX_NAME(matrix)){work, 1, GX_TILE_ROWS};
    }
    for (int64_t j = 0; j < n; j += wide) {
      int cols = (int)gx_least(wide, n - j);
      int width = (int)gx_round_up(cols, lanes);
      GX_NAME(matrix) right = {b.at + j * b.col, b.row, 1};
      if (pack_b || j + width > readable) {
        GX_REAL *to = packed_b + (pack_b ? j * depth : 0);
        if (i == 0 || !pack_b) {
          GX_NAME(matrix) from = {right.at, b.row, b.col};
          GX_NAME(pack_b)(depth, cols, width, from, to);
        }
        right = (GX_NAME(matrix)){to, width, 1};
      }
      GX_NAME(panel)(rows, cols, depth, left, pack_a, right,
                     c + i * c_row + j, c_row, add);
    }
  }
}

/* As gx_gemm_, for a B whose rows may be loaded up to column `readable`. */
static inline void GX_NAME(gemm_readable)(int64_t m, int64_t n, int64_t k,
                                          GX_NAME(matrix) a,
                                          GX_NAME(matrix) b, int64_t readable,
                                          GX_REAL *c, int64_t c_row,
                                          int accumulate, GX_REAL *work) {
  if (k == 0 && !accumulate) {
    for (int64_t i = 0; i < m; i++) {
      for (int64_t j = 0; j < n; j++) {
        c[i * c_row + j] = 0;
      }
    }
  }
  int pack_b = b.col != 1 || m > GX_FEW_ROWS;
  for (int64_t j = 0; j < n; j += GX_BLOCK_COLS) {
    int64_t cols = gx_least(GX_BLOCK_COLS, n - j);
    for (int64_t p = 0; p < k; p += GX_BLOCK_DEPTH) {
      int64_t depth = gx_least(GX_BLOCK_DEPTH, k - p);
      GX_NAME(matrix) left = {a.at + p * a.col, a.row, a.col};
      GX_NAME(matrix) right = {b.at + p * b.row + j * b.col, b.row, b.col};
      GX_NAME(block)(m, cols, depth, left, right, readable - j, pack_b, c + j,
                     c_row, accumulate || p > 0, work);
    }
  }
}

/* Elements of work that a product of these sizes needs. */
static inline int64_t GX_NAME(gemm_work)(int64_t m, int64_t n, int64_t k) {
  if (m <= 0 || n <= 0 || k <= 0) {
    return 0;
  }
  int64_t cols = gx_round_up(gx_least(n, GX_BLOCK_COLS), GX_NAME(lanes));
  int64_t rows = GX_BLOCK_ROWS;
  return rows * GX_BLOCK_DEPTH + cols * gx_least(k, GX_BLOCK_DEPTH);
}

static inline void GX_NAME(gemm)(int64_t m, int64_t n, int64_t k,
                                 const GX_REAL *a, int64_t a_row,
                                 int64_t a_col, const GX_REAL *b,
                                 int64_t b_row, int64_t b_col, GX_REAL *c,
                                 int64_t c_row, int accumulate,
                                 GX_REAL *work) {
  GX_NAME(matrix) left = {a, a_row, a_col}, right = {b, b_row, b_col};
  GX_NAME(gemm_readable)(m, n, k, left, right, n, c, c_row, accumulate, work);
}
