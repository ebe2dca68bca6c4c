/* mp: msgpack, strictly.
 *
 * Writing goes through msgpack-c's packer into a `struct buf`. Reading does not go through its unpacker: a five-byte array
 * header makes that one reserve gigabytes before it notices that the data is missing. Instead mp_check walks the whole message
 * once without allocating (complete, exactly one object, nothing behind it, counts that fit the bytes that are left, depth,
 * number of objects, no ext types, no floats), and `struct mp` then reads it in order.
 *
 * Reading is sticky: after the first mismatch every later read yields zero/empty, and mp_done reports ERR_BAD once. So a decoder
 * reads all its fields and checks at the end. Byte strings are borrowed from the message: valid as long as it is. */
#ifndef PROTO_MP_H
#define PROTO_MP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/buf.h"
#include "proto/id.h"

struct mp { const uint8_t *p, *end; bool failed; };
struct bytes { const uint8_t *p; size_t len; };

/* The walk. ERR_BAD with the reason and the offset. */
int mp_check(const void *data, size_t len) MUST_CHECK;

/* A reader over data that mp_check has passed (it checks bounds by itself all the same). */
struct mp mp_reader(const void *data, size_t len);
uint64_t     mp_u64(struct mp *m, uint64_t max);                 /* 0..max, else fails */
int64_t      mp_i64(struct mp *m);
bool         mp_bool(struct mp *m);
uint32_t     mp_array(struct mp *m, uint32_t max);               /* number of elements that follow */
void         mp_array_of(struct mp *m, uint32_t n);              /* exactly n elements */
uint32_t     mp_map(struct mp *m, uint32_t max);                 /* number of key-value pairs that follow */
struct bytes mp_bin(struct mp *m, size_t max);                   /* bin */
struct bytes mp_str(struct mp *m, size_t max);                   /* str; UTF-8 is not checked here */
void         mp_bin_into(struct mp *m, void *out, size_t len);   /* bin of exactly len bytes */
bool         mp_nil(struct mp *m);                               /* consumes a nil if one is next, and says whether */
struct bytes mp_skip(struct mp *m);                              /* any one object, as its raw bytes */
int          mp_peek(const struct mp *m);                        /* type of the next object, below; MP_END at the end */
enum { MP_END, MP_NIL, MP_BOOL, MP_UINT, MP_INT, MP_STR, MP_BIN, MP_ARRAY, MP_MAP };
/* 0 when everything was read and nothing failed; otherwise ERR_BAD "what: malformed" */
int mp_done(const struct mp *m, const char *what) MUST_CHECK;

/* Writing. */
void mp_put_u64(struct buf *b, uint64_t v);
void mp_put_i64(struct buf *b, int64_t v);
void mp_put_bool(struct buf *b, bool v);
void mp_put_nil(struct buf *b);
void mp_put_array(struct buf *b, size_t n);
void mp_put_map(struct buf *b, size_t n);
void mp_put_bin(struct buf *b, const void *data, size_t len);
void mp_put_str(struct buf *b, const char *s);
void mp_put_strn(struct buf *b, const char *s, size_t len);

#endif
