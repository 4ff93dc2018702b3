/* Placing buffers in one arena.
 *
 * Holds the greedy planner and knows nothing of what buffers are for. It runs
 * when the sizes of a call change, so it is quadratic and allocates nothing.
 * Source: Pisarchyk & Lee 2020, "Efficient memory management for deep neural
 * net inference", greedy by size.
 */
#ifndef GX_PLAN_H
#define GX_PLAN_H

#include <stdint.h>

/* Order buffers by falling size; equal ones keep their order. */
static inline void gx_place_order(int64_t count, const int64_t *size,
                                  int32_t *order) {
  for (int64_t i = 0; i < count; i++) {
    int64_t at = i;
    for (; at > 0 && size[order[at - 1]] < size[i]; at--) {
      order[at] = order[at - 1];
    }
    order[at] = (int32_t)i;
  }
}

/* *end = x + size, *next = that rounded up to align; 0 if one is no int64. */
static inline int gx_place_end(int64_t x, int64_t size, int64_t align,
                               int64_t *end, int64_t *next) {
  if (size > INT64_MAX - x) {
    return 0;
  }
  *end = x + size;
  int64_t gap = *end % align == 0 ? 0 : align - *end % align;
  if (gap > INT64_MAX - *end) {
    return 0;
  }
  *next = *end + gap;
  return 1;
}

/* Give each buffer an offset, a multiple of align, such that buffers that are
 * alive at a common step do not overlap; i is alive at first[i]..last[i], both
 * included. Returns the bytes of the arena, a multiple of align, or -1 if they
 * are no int64 or a size is negative. order is scratch of `count` elements. */
static inline int64_t gx_place(int64_t count, const int64_t *size,
                               const int32_t *first, const int32_t *last,
                               int64_t align, int64_t *offset,
                               int32_t *order) {
  int64_t total = 0;
  gx_place_order(count, size, order);
  /* order[:placed] holds what is placed, by rising offset. */
  for (int64_t placed = 0; placed < count; placed++) {
    int32_t i = order[placed];
    int64_t at = 0, end, next;
    if (size[i] < 0) {
      return -1;
    }
    for (int64_t k = 0; k < placed && size[i] > 0; k++) {
      int32_t j = order[k];
      if (first[i] > last[j] || first[j] > last[i]) {
        continue;
      }
      if (offset[j] >= at && offset[j] - at >= size[i]) {
        break; /* the gap before j is large enough */
      }
      if (!gx_place_end(offset[j], size[j], align, &end, &next)) {
        return -1;
      }
      at = next > at ? next : at;
    }
    if (!gx_place_end(at, size[i], align, &end, &next)) {
      return -1;
    }
    total = next > total ? next : total;
    offset[i] = at;
    int64_t k = placed;
    for (; k > 0 && offset[order[k - 1]] > at; k--) {
      order[k] = order[k - 1];
    }
    order[k] = i;
  }
  return total;
}

#endif
