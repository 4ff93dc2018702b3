/* Weights files in memory: safetensors, read strictly and written back.
 *
 * Knows the format and no file system. Reading checks everything before it
 * copies anything. Names and shapes have to match both ways, and dtypes too.
 */
#ifndef GX_WEIGHTS_H
#define GX_WEIGHTS_H

#include "gx_module.h"

enum { GX_LONGEST_HEADER = 100000000 }; /* bytes, as the format's own reader */

/* What is left of a header; bad is set for good by whatever does not fit. */
typedef struct {
  const unsigned char *at, *end;
  int bad;
} gx_json;

static inline void gx_json_blank(gx_json *j) {
  while (j->at < j->end && (*j->at == ' ' || *j->at == '\n' ||
                            *j->at == '\r' || *j->at == '\t')) {
    j->at++;
  }
}

/* Whether the next sign is c, which is then taken. */
static inline int gx_json_takes(gx_json *j, char c) {
  gx_json_blank(j);
  if (j->bad || j->at >= j->end || *j->at != (unsigned char)c) {
    return 0;
  }
  j->at++;
  return 1;
}

static inline void gx_json_expect(gx_json *j, char c) {
  if (!gx_json_takes(j, c)) {
    j->bad = 1;
  }
}

/* Four hexadecimal digits. */
static inline uint32_t gx_json_hex(gx_json *j) {
  uint32_t value = 0;
  for (int i = 0; i < 4; i++) {
    unsigned char c = j->at < j->end ? *j->at : 0;
    uint32_t digit = 16;
    if (c >= '0' && c <= '9') {
      digit = (uint32_t)(c - '0');
    } else if ((c | 32) >= 'a' && (c | 32) <= 'f') {
      digit = (uint32_t)((c | 32) - 'a' + 10);
    }
    if (digit == 16) {
      j->bad = 1;
      return 0;
    }
    value = value * 16 + digit;
    j->at++;
  }
  return value;
}

/* The code point of \uXXXX, whose \u was taken; surrogates come in pairs. */
static inline uint32_t gx_json_point(gx_json *j) {
  uint32_t high = gx_json_hex(j);
  if (high < 0xD800 || high > 0xDFFF) {
    return high;
  }
  if (high > 0xDBFF || j->end - j->at < 2 || j->at[0] != '\\' ||
      j->at[1] != 'u') {
    j->bad = 1;
    return 0;
  }
  j->at += 2;
  uint32_t low = gx_json_hex(j);
  if (low < 0xDC00 || low > 0xDFFF) {
    j->bad = 1;
    return 0;
  }
  return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
}

/* The UTF-8 of a code point; returns its bytes. */
static inline int gx_utf8(uint32_t point, unsigned char out[4]) {
  if (point < 0x80) {
    out[0] = (unsigned char)point;
    return 1;
  }
  int extra = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
  static const unsigned char lead[] = {0, 0xC0, 0xE0, 0xF0};
  for (int i = extra; i > 0; i--) {
    out[i] = (unsigned char)(0x80 | (point & 0x3F));
    point >>= 6;
  }
  out[0] = (unsigned char)(lead[extra] | point);
  return extra + 1;
}

/* The next bytes of a string after its opening quote; 0 at its end. */
static inline int gx_json_piece(gx_json *j, unsigned char out[4]) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  if (j->bad || j->at >= j->end || *j->at < 0x20) {
    j->bad = 1;
    return 0;
  }
  out[0] = *j->at++;
  if (out[0] == '"') {
    return 0;
  }
  if (out[0] != '\\') {
    return 1;
  }
  unsigned char c = j->at < j->end ? *j->at++ : 0;
  if (c == 'u') {
    return gx_utf8(gx_json_point(j), out);
  }
  const char *found = c == 0 ? NULL : strchr(from, c);
  if (found == NULL) {
    j->bad = 1;
    return 0;
  }
  out[0] = (unsigned char)to[found - from];
  return 1;
}

/* Walk over a string, and tell whether it is this one. */
static inline int gx_json_is(gx_json *j, const char *wanted) {
  unsigned char piece[4];
  int same = 1, count;
  size_t length = strlen(wanted), seen = 0;
  gx_json_expect(j, '"');
  while ((count = gx_json_piece(j, piece)) > 0) {
    for (int i = 0; i < count; i++, seen++) {
      same = same && seen < length && (unsigned char)wanted[seen] == piece[i];
    }
  }
  return same && seen == length && !j->bad;
}

/* Whether the next string is this one; it is taken if so. */
static inline int gx_json_takes_string(gx_json *j, const char *wanted) {
  gx_json ahead = *j;
  if (!gx_json_is(&ahead, wanted)) {
    return 0;
  }
  *j = ahead;
  return 1;
}

/* A whole number of at most 62 bits. */
static inline int64_t gx_json_number(gx_json *j) {
  int64_t value = 0;
  int digits = 0;
  gx_json_blank(j);
  for (; j->at < j->end && *j->at >= '0' && *j->at <= '9'; j->at++) {
    if (value > (INT64_MAX / 2 - 9) / 10 || (digits == 1 && value == 0)) {
      j->bad = 1;
      return 0;
    }
    value = value * 10 + (*j->at - '0');
    digits = digits < 2 ? digits + 1 : 2;
  }
  j->bad |= digits == 0;
  return value;
}

/* {"text": "text", ...} */
static inline void gx_json_skip_texts(gx_json *j) {
  gx_json_expect(j, '{');
  if (gx_json_takes(j, '}')) {
    return;
  }
  do {
    (void)gx_json_is(j, "");
    gx_json_expect(j, ':');
    (void)gx_json_is(j, "");
  } while (gx_json_takes(j, ','));
  gx_json_expect(j, '}');
}

/* Whether a list of numbers is this shape. */
static inline int gx_json_is_shape(gx_json *j, const int64_t *shape,
                                   int64_t rank) {
  int64_t count = 0;
  int same = 1;
  gx_json_expect(j, '[');
  if (gx_json_takes(j, ']')) {
    return rank == 0;
  }
  do {
    int64_t extent = gx_json_number(j);
    same = same && count < rank && shape[count] == extent;
    count++;
  } while (gx_json_takes(j, ','));
  gx_json_expect(j, ']');
  return same && count == rank;
}

/* Read {"dtype": ..., "shape": ..., "data_offsets": ...}, each once, for one
 * tensor; *begin is where its bytes are. */
static inline int gx_read_entry(gx_json *j, const gx_tensor *t, int64_t data,
                                int64_t *begin) {
  int seen = 0, same = 1;
  int64_t end = 0;
  gx_json_expect(j, '{');
  do {
    int field = gx_json_takes_string(j, "dtype")          ? 1
                : gx_json_takes_string(j, "shape")        ? 2
                : gx_json_takes_string(j, "data_offsets") ? 4
                                                          : 0;
    if (field == 0 || (seen & field) != 0) {
      return GX_FILE;
    }
    seen |= field;
    gx_json_expect(j, ':');
    if (field == 1) {
      same = gx_json_is(j, t->kind) && same;
    } else if (field == 2) {
      same = gx_json_is_shape(j, t->shape, t->rank) && same;
    } else {
      gx_json_expect(j, '[');
      *begin = gx_json_number(j);
      gx_json_expect(j, ',');
      end = gx_json_number(j);
      gx_json_expect(j, ']');
    }
  } while (gx_json_takes(j, ','));
  gx_json_expect(j, '}');
  if (j->bad || seen != 7 || *begin > end || end > data) {
    return GX_FILE;
  }
  return same && end - *begin == t->bytes ? GX_OK : GX_OTHER;
}

/* Read one key and what belongs to it. */
static inline int gx_read_key(const gx_program *p, gx_json *j, int64_t data,
                              int64_t *sources) {
  if (gx_json_takes_string(j, "__metadata__")) {
    gx_json_expect(j, ':');
    gx_json_skip_texts(j);
    return j->bad ? GX_FILE : GX_OK;
  }
  for (int64_t i = 0; i < p->count; i++) {
    if (gx_json_takes_string(j, p->tensors[i].name)) {
      gx_json_expect(j, ':');
      if (sources[i] >= 0) {
        return GX_FILE;
      }
      sources[i] = 0;
      return gx_read_entry(j, &p->tensors[i], data, &sources[i]);
    }
  }
  (void)gx_json_is(j, "");
  return j->bad ? GX_FILE : GX_OTHER;
}

/* Find every tensor's bytes, which begin after the header. */
static inline int gx_read_header(const gx_program *p, gx_json *j, int64_t data,
                                 int64_t *sources) {
  for (int64_t i = 0; i < p->count; i++) {
    sources[i] = -1;
  }
  gx_json_expect(j, '{');
  if (!gx_json_takes(j, '}')) {
    do {
      int status = gx_read_key(p, j, data, sources);
      if (status != GX_OK) {
        return status;
      }
    } while (gx_json_takes(j, ','));
    gx_json_expect(j, '}');
  }
  gx_json_blank(j);
  if (j->bad || j->at != j->end) {
    return GX_FILE;
  }
  for (int64_t i = 0; i < p->count; i++) {
    if (sources[i] < 0) {
      return GX_OTHER;
    }
  }
  return data == p->file_bytes ? GX_OK : GX_FILE;
}

static inline int gx_load(const gx_program *p, char *block, const void *file,
                          size_t bytes) {
  int status = gx_check(p, block);
  if (status != GX_OK) {
    return status;
  }
  if (file == NULL) {
    return GX_NULL;
  }
  const unsigned char *text = file;
  uint64_t length = 0;
  for (int i = 0; i < 8 && bytes >= 8; i++) {
    length |= (uint64_t)text[i] << (8 * i);
  }
  if (bytes < 8 || length > bytes - 8 || length > GX_LONGEST_HEADER) {
    return GX_FILE;
  }
  gx_json header = {text + 8, text + 8 + length, 0};
  const unsigned char *data = header.end;
  int64_t *sources = gx_sources(p, block);
  status = gx_read_header(p, &header, (int64_t)(bytes - 8 - length), sources);
  for (int64_t i = 0; i < p->count && status == GX_OK; i++) {
    memcpy(gx_value(p, block, i), data + sources[i],
           (size_t)p->tensors[i].bytes);
  }
  return status;
}

/* The header's bytes, padded so that the data are aligned to 8 bytes. */
static inline size_t gx_header_bytes(const gx_program *p) {
  size_t length = strlen(p->metadata) + 1;
  for (int64_t i = 0; i < p->count; i++) {
    length += strlen(p->tensors[i].entry);
  }
  return (length + 7) / 8 * 8;
}

static inline size_t gx_save_bytes(const gx_program *p) {
  return 8 + gx_header_bytes(p) + (size_t)p->file_bytes;
}

static inline char *gx_put_text(char *at, const char *text) {
  size_t length = strlen(text);
  memcpy(at, text, length);
  return at + length;
}

static inline int gx_save(const gx_program *p, char *block, void *file,
                          size_t bytes) {
  int status = gx_check(p, block);
  if (status != GX_OK) {
    return status;
  }
  if (file == NULL) {
    return GX_NULL;
  }
  if (bytes != gx_save_bytes(p)) {
    return GX_ROOM;
  }
  size_t length = gx_header_bytes(p);
  for (int i = 0; i < 8; i++) {
    ((unsigned char *)file)[i] = (unsigned char)((uint64_t)length >> (8 * i));
  }
  char *at = (char *)file + 8, *data = at + length;
  at = gx_put_text(at, p->metadata);
  for (int64_t i = 0; i < p->count; i++) {
    at = gx_put_text(at, p->tensors[i].entry);
    memcpy(data + p->tensors[i].saved, gx_value(p, block, i),
           (size_t)p->tensors[i].bytes);
  }
  *at++ = '}';
  memset(at, ' ', (size_t)(data - at));
  return GX_OK;
}

#endif
