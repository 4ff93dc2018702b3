/* A module's state block, and calls on it: what every exported function shares.
 *
 * Holds no tensor of any program: tables say what there is. Allocates nothing
 * and keeps nothing; the state and the work belong to the caller.
 *
 * A state block is a tag, then for each tensor which of its copies is current,
 * a place that loading uses, and two pointers that a call uses; then the
 * copies. It may be moved by memcpy between calls. Work begins with a tag and
 * its size, so that too little of it is noticed.
 */
#ifndef GX_MODULE_H
#define GX_MODULE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "gx_call.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "weights are little-endian, and so has the machine to be"
#endif

enum {
  GX_OK = 0,
  GX_NULL = 1,      /* a pointer is NULL */
  GX_ALIGNMENT = 2, /* a block is not aligned */
  GX_STATE = 3,     /* the state was not initialised, or by another module */
  GX_SIZE = 4,      /* sizes that do not fit */
  GX_INDEX = 5,     /* an index outside its axis */
  GX_FILE = 6,      /* no safetensors file, or a damaged one */
  GX_OTHER = 7,     /* weights of another program */
  GX_NAME = 8,      /* no tensor of that number */
  GX_ROOM = 9,      /* a buffer of another size than is needed */
  GX_WORK = 10      /* work that was not prepared, or too little of it */
};

enum { GX_ALIGN = 64 };

/* One parameter or state. */
typedef struct {
  const char *name, *dtype, *kind; /* kind: its dtype in a weights file */
  const char *entry;               /* its entry in a weights file's header */
  const int64_t *shape;
  int64_t rank, bytes;
  int64_t copies[2]; /* where they lie; equal if no function updates it */
  int64_t saved;     /* where its bytes lie in a file that is written */
} gx_tensor;

typedef struct {
  const gx_tensor *tensors;
  int64_t count;
  int64_t bytes;        /* of all copies */
  int64_t file_bytes;   /* of all tensors in a weights file */
  uint64_t tag;         /* what a state block of this program begins with */
  int64_t key;          /* the tensor that is the random key, or -1 */
  const char *metadata; /* the beginning of a weights file's header */
} gx_program;

/* One size, input or output of a function. */
typedef struct {
  const char *name, *dtype;
  const int64_t *shape; /* -1 where an extent depends on sizes */
  int64_t rank;
} gx_argument;

/* One function of the program. */
typedef struct {
  const char *name;
  const gx_argument *places; /* sizes, inputs, outputs, as a call passes them */
  int64_t sizes, arguments, results, buffers;
  void (*shape)(const int64_t *dims, int64_t place, int64_t *extents);
  int (*fits)(const int64_t *dims);
  int64_t (*place)(const int64_t *dims, int64_t *bytes, int64_t *offsets,
                   int32_t *order);
  int32_t (*call)(gx_call *c);
} gx_function;

#define GX_ROUNDED(bytes) (((bytes) + GX_ALIGN - 1) / GX_ALIGN * GX_ALIGN)
#define GX_HEAD_BYTES(count)                                                 \
  GX_ROUNDED(8 + (int64_t)(count) * (16 + 2 * (int64_t)sizeof(void *)))
#define GX_TABLE_BYTES(buffers) GX_ROUNDED((int64_t)(buffers)*20)

static inline int64_t *gx_current(const gx_program *p, char *block) {
  (void)p;
  return (int64_t *)(void *)(block + 8);
}

static inline int64_t *gx_sources(const gx_program *p, char *block) {
  return gx_current(p, block) + p->count;
}

static inline void **gx_pointers(const gx_program *p, char *block) {
  return (void **)(void *)(gx_sources(p, block) + p->count);
}

static inline char *gx_copy(const gx_program *p, char *block, int64_t i,
                            int64_t which) {
  return block + GX_HEAD_BYTES(p->count) + p->tensors[i].copies[which];
}

/* The current copy of tensor i. */
static inline char *gx_value(const gx_program *p, char *block, int64_t i) {
  return gx_copy(p, block, i, gx_current(p, block)[i]);
}

static inline size_t gx_state_bytes(const gx_program *p) {
  int64_t total = GX_HEAD_BYTES(p->count) + p->bytes;
  return (uint64_t)total > SIZE_MAX ? 0 : (size_t)total;
}

/* Whether a block is one of this program, ready for use: 0 or a status. */
static inline int gx_check(const gx_program *p, const void *block) {
  uint64_t tag;
  if (block == NULL) {
    return GX_NULL;
  }
  if ((uintptr_t)block % GX_ALIGN != 0) {
    return GX_ALIGNMENT;
  }
  memcpy(&tag, block, sizeof tag);
  return tag == p->tag ? GX_OK : GX_STATE;
}

static inline int gx_init(const gx_program *p, char *block, uint64_t seed) {
  if (block == NULL) {
    return GX_NULL;
  }
  if ((uintptr_t)block % GX_ALIGN != 0) {
    return GX_ALIGNMENT;
  }
  memset(block, 0, gx_state_bytes(p));
  memcpy(block, &p->tag, sizeof p->tag);
  if (p->key >= 0) {
    memcpy(gx_value(p, block, p->key), &seed, sizeof seed);
  }
  return GX_OK;
}

static inline int64_t gx_find(const gx_program *p, const char *name) {
  for (int64_t i = 0; i < p->count && name != NULL; i++) {
    if (strcmp(p->tensors[i].name, name) == 0) {
      return i;
    }
  }
  return -1;
}

/* Check a copy to or from tensor i: 0 or a status. */
static inline int gx_check_copy(const gx_program *p, const char *block,
                                int64_t i, const void *other, size_t bytes) {
  int status = gx_check(p, block);
  if (status != GX_OK) {
    return status;
  }
  if (i < 0 || i >= p->count) {
    return GX_NAME;
  }
  if (other == NULL) {
    return GX_NULL;
  }
  return (uint64_t)p->tensors[i].bytes == bytes ? GX_OK : GX_ROOM;
}

static inline int gx_get(const gx_program *p, char *block, int64_t i,
                         void *to, size_t bytes) {
  int status = gx_check_copy(p, block, i, to, bytes);
  if (status == GX_OK) {
    memcpy(to, gx_value(p, block, i), bytes);
  }
  return status;
}

static inline int gx_set(const gx_program *p, char *block, int64_t i,
                         const void *from, size_t bytes) {
  int status = gx_check_copy(p, block, i, from, bytes);
  if (status == GX_OK) {
    memcpy(gx_value(p, block, i), from, bytes);
  }
  return status;
}

enum { GX_WORK_HEAD = GX_ALIGN }; /* bytes: a tag and the size of the block */

static inline uint64_t gx_work_tag(const gx_program *p) {
  return p->tag ^ UINT64_C(0x6B726F77); /* "work" */
}

/* Make a block ready to be the work of calls. */
static inline int gx_work_init(const gx_program *p, void *work, size_t bytes) {
  uint64_t head[2] = {gx_work_tag(p), bytes};
  if (work == NULL) {
    return GX_NULL;
  }
  if ((uintptr_t)work % GX_ALIGN != 0) {
    return GX_ALIGNMENT;
  }
  if (bytes < GX_WORK_HEAD) {
    return GX_WORK;
  }
  memcpy(work, head, sizeof head);
  return GX_OK;
}

/* What a prepared block has room for; 0 if it was not prepared. */
static inline uint64_t gx_work_room(const gx_program *p, const void *work) {
  uint64_t head[2];
  memcpy(head, work, sizeof head);
  return head[0] == gx_work_tag(p) ? head[1] : 0;
}

/* Bytes of work, given tables of f->buffers elements; 0 if sizes do not fit. */
static inline size_t gx_work_bytes(const gx_function *f, const int64_t *dims,
                                   int64_t *bytes, int64_t *offsets,
                                   int32_t *order) {
  int64_t total, tables = GX_WORK_HEAD + GX_TABLE_BYTES(f->buffers);
  if (!f->fits(dims)) {
    return 0;
  }
  total = f->place(dims, bytes, offsets, order);
  if (total < 0 || total > INT64_MAX - tables - GX_ALIGN) {
    return 0;
  }
  total = GX_ROUNDED(total + tables);
  return (uint64_t)total > SIZE_MAX ? 0 : (size_t)total;
}

/* Check what a call is given: 0 or a status. */
static inline int gx_check_call(const gx_program *p, const gx_function *f,
                                const char *block, const char *work,
                                const int64_t *dims, void *const *arguments,
                                void *const *results) {
  int status = gx_check(p, block);
  if (status != GX_OK) {
    return status;
  }
  if (work == NULL) {
    return GX_NULL;
  }
  if ((uintptr_t)work % GX_ALIGN != 0) {
    return GX_ALIGNMENT;
  }
  for (int64_t i = 0; i < f->arguments; i++) {
    if (arguments[i] == NULL) {
      return GX_NULL;
    }
  }
  for (int64_t i = 0; i < f->results; i++) {
    if (results[i] == NULL) {
      return GX_NULL;
    }
  }
  if (!f->fits(dims)) {
    return GX_SIZE;
  }
  uint64_t least = GX_WORK_HEAD + (uint64_t)GX_TABLE_BYTES(f->buffers);
  return gx_work_room(p, work) < least ? GX_WORK : GX_OK;
}

/* Run a function: 0 or a status; states change only with 0. */
static inline int gx_run(const gx_program *p, const gx_function *f,
                         char *block, char *work, const int64_t *dims,
                         void *const *arguments, void *const *results,
                         void *const *constants) {
  int status = gx_check_call(p, f, block, work, dims, arguments, results);
  if (status != GX_OK) {
    return status;
  }
  int64_t *offsets = (int64_t *)(void *)(work + GX_WORK_HEAD);
  int64_t *bytes = offsets + f->buffers;
  int32_t *order = (int32_t *)(void *)(bytes + f->buffers);
  char *arena = work + GX_WORK_HEAD + GX_TABLE_BYTES(f->buffers);
  int64_t total = f->place(dims, bytes, offsets, order);
  if (total < 0) {
    return GX_SIZE;
  }
  if ((uint64_t)total > gx_work_room(p, work) - (uint64_t)(arena - work)) {
    return GX_WORK;
  }
  int64_t *current = gx_current(p, block);
  void **states = gx_pointers(p, block), **next = states + p->count;
  for (int64_t i = 0; i < p->count; i++) {
    states[i] = gx_copy(p, block, i, current[i]);
    next[i] = gx_copy(p, block, i, 1 - current[i]);
  }
  gx_call c = {dims,    arena,     offsets, arguments, results,
               constants, states, next,    0};
  if (f->call(&c) != 0) {
    return GX_INDEX;
  }
  for (int64_t i = 0; i < p->count; i++) {
    const gx_tensor *t = &p->tensors[i];
    if (t->copies[0] != t->copies[1]) {
      current[i] = states[i] == (void *)gx_copy(p, block, i, 1);
    }
  }
  return GX_OK;
}

/* The extents of one size, input or output of a function at given sizes. */
static inline int gx_shape(const gx_function *f, const int64_t *dims,
                           int64_t place, int64_t *shape) {
  if (place < 0 || place >= f->sizes + f->arguments + f->results) {
    return GX_NAME;
  }
  if ((dims == NULL && f->sizes > 0) ||
      (shape == NULL && f->places[place].rank > 0)) {
    return GX_NULL;
  }
  if (!f->fits(dims)) {
    return GX_SIZE;
  }
  f->shape(dims, place, shape);
  return GX_OK;
}

static inline const char *gx_status_text(int status) {
  static const char *const texts[] = {
      "success",
      "a pointer is NULL",
      "a block is not aligned",
      "the state was not initialised by this module",
      "the sizes do not fit",
      "an index lies outside its axis",
      "this is no safetensors file, or a damaged one",
      "these are weights of another program",
      "there is no tensor of that number",
      "the buffer has another size than is needed",
      "the work was not prepared, or is too small for this call",
  };
  int known = status >= 0 && status < (int)(sizeof texts / sizeof *texts);
  return known ? texts[status] : "unknown status";
}

#endif
