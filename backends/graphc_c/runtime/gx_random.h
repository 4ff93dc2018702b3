/* Random bits: the counter-based generator Philox4x32-10.
 *
 * Holds the generator and nothing that turns bits into distributions. Bits
 * depend on key, stream and position only, never on how many are asked for.
 * Source: Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as
 * 1, 2, 3", 2011; constants as in Random123.
 */
#ifndef GX_RANDOM_H
#define GX_RANDOM_H

#include <stdint.h>

/* Blocks computed side by side, so that the rounds vectorise. */
enum { GX_PHILOX_LANES = 16 };

/* One word in each of several blocks. */
typedef struct {
  uint32_t word[4][GX_PHILOX_LANES];
} gx_philox_blocks;

/* Replace counters by random words: ten rounds under the key (k0, k1). */
static inline void gx_philox(uint32_t k0, uint32_t k1, gx_philox_blocks *b) {
  for (int round = 0; round < 10; round++) {
    for (int i = 0; i < GX_PHILOX_LANES; i++) {
      uint64_t p0 = (uint64_t)b->word[0][i] * UINT32_C(0xD2511F53);
      uint64_t p1 = (uint64_t)b->word[2][i] * UINT32_C(0xCD9E8D57);
      b->word[0][i] = (uint32_t)(p1 >> 32) ^ b->word[1][i] ^ k0;
      b->word[2][i] = (uint32_t)(p0 >> 32) ^ b->word[3][i] ^ k1;
      b->word[1][i] = (uint32_t)p1;
      b->word[3][i] = (uint32_t)p0;
    }
    k0 += UINT32_C(0x9E3779B9);
    k1 += UINT32_C(0xBB67AE85);
  }
}

/* The random words of the blocks first, first + 1, ... of a stream, whose
 * numbers count modulo 2**32. */
static inline void gx_philox_at(const uint64_t key[2], uint32_t stream,
                                int64_t first, gx_philox_blocks *b) {
  for (int i = 0; i < GX_PHILOX_LANES; i++) {
    b->word[0][i] = (uint32_t)(uint64_t)first + (uint32_t)i;
    b->word[1][i] = stream;
    b->word[2][i] = (uint32_t)key[1];
    b->word[3][i] = (uint32_t)(key[1] >> 32);
  }
  gx_philox((uint32_t)key[0], (uint32_t)(key[0] >> 32), b);
}

/* Four elements a block. */
static inline void gx_random_bits_u32(const uint64_t key[2], uint32_t stream,
                                      int64_t count, uint32_t *restrict out) {
  const int64_t many = 4 * GX_PHILOX_LANES;
  gx_philox_blocks b;
  for (int64_t i = 0; i < count; i += many) {
    int64_t rest = count - i;
    gx_philox_at(key, stream, i / 4, &b);
    for (int k = 0; k < GX_PHILOX_LANES && rest >= many; k++) {
      out[i + 4 * k] = b.word[0][k];
      out[i + 4 * k + 1] = b.word[1][k];
      out[i + 4 * k + 2] = b.word[2][k];
      out[i + 4 * k + 3] = b.word[3][k];
    }
    for (int k = 0; k < rest && rest < many; k++) {
      out[i + k] = b.word[k % 4][k / 4];
    }
  }
}

/* Two elements a block, the low word first. */
static inline void gx_random_bits_u64(const uint64_t key[2], uint32_t stream,
                                      int64_t count, uint64_t *restrict out) {
  const int64_t many = 2 * GX_PHILOX_LANES;
  gx_philox_blocks b;
  for (int64_t i = 0; i < count; i += many) {
    int64_t rest = count - i;
    gx_philox_at(key, stream, i / 2, &b);
    for (int k = 0; k < GX_PHILOX_LANES && rest >= many; k++) {
      out[i + 2 * k] = b.word[0][k] | (uint64_t)b.word[1][k] << 32;
      out[i + 2 * k + 1] = b.word[2][k] | (uint64_t)b.word[3][k] << 32;
    }
    for (int k = 0; k < rest && rest < many; k++) {
      int low = k % 2 * 2;
      out[i + k] =
          b.word[low][k / 2] | (uint64_t)b.word[low + 1][k / 2] << 32;
    }
  }
}

#endif
