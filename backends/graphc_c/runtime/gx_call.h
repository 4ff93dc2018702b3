/* What a call of a generated function is bound to.
 *
 * Holds pointers only: the caller owns all memory. States have two buffers
 * each; a call writes new values to the second and exchanges them at its end,
 * so that a call which stops early leaves every state as it was.
 */
#ifndef GX_CALL_H
#define GX_CALL_H

#include <stdint.h>

#if defined(_WIN32)
#define GX_API __declspec(dllexport)
#elif defined(__GNUC__)
#define GX_API __attribute__((visibility("default")))
#else
#define GX_API
#endif

typedef struct {
  const int64_t *dims;      /* sizes of the open dimensions */
  char *arena;              /* aligned to 64 bytes */
  const int64_t *offsets;   /* in the arena, in bytes */
  void *const *arguments;
  void *const *results;
  void *const *constants;
  void **states;            /* shared by the functions of a module */
  void **next;
  int64_t bad;              /* the index that stopped the call */
} gx_call;

static inline void gx_exchange(gx_call *c, int64_t state) {
  void *old = c->states[state];
  c->states[state] = c->next[state];
  c->next[state] = old;
}

#endif
