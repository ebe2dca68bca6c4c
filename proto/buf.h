/* buf: a growing byte buffer with a hard maximum and a sticky failure.
 *
 * Anything whose size a peer or a file decides is collected in one of these. Once an append would pass `max` (or memory runs
 * out) the buffer fails: this and all later appends do nothing, and buf_ok says so. So one writes ten appends and checks once.
 *   AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_HEAD);
 *   buf_add(&b, ...); buf_add(&b, ...);
 *   if (!buf_ok(&b)) return err_set(ERR_FULL, ...);
 * A pointer into b.data is valid until the next call on b. */
#ifndef PROTO_BUF_H
#define PROTO_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"

struct buf {
    uint8_t *data;
    size_t len, cap, max;
    bool failed;
};
#define BUF_INIT(maximum) { .max = (maximum) }

void buf_add(struct buf *b, const void *data, size_t len);
void buf_add_str(struct buf *b, const char *s);
void buf_addf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
uint8_t *buf_room(struct buf *b, size_t len);  /* appends len bytes to be written by the caller; NULL when failed */
bool buf_ok(const struct buf *b);
void buf_clear(struct buf *b);                 /* empty and unfailed, memory kept */
void buf_release(struct buf *b);               /* frees, back to BUF_INIT with the same max */
uint8_t *buf_steal(struct buf *b, size_t *len); /* the bytes are the caller's (free); b is as after buf_release. NULL when failed */

#endif
