/* vv: dots, contexts and vectors.
 *
 * A dot (sid, seq) names one entry: number seq, counted from 1, of stream sid. A context is a set of pairs (sid, seq) sorted by
 * sid, at most one a stream, and covers the dots (sid, 1..seq). A dot set (the exceptions of an entry) is sorted by (sid, seq)
 * without repetition. Both are `struct dots`, a growing array; the two kinds of use differ in the functions called.
 * No function here fails: the caller has bounded what it puts in (LIMIT_CTX at decode). */
#ifndef PROTO_VV_H
#define PROTO_VV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/buf.h"
#include "proto/id.h"
#include "proto/mp.h"

struct dot  { struct sid sid; uint64_t seq; };
struct dots { struct dot *v; size_t n, cap; };

void dots_release(struct dots *d);
void dots_clear(struct dots *d);                                       /* empty, memory kept */
void dots_copy(struct dots *to, const struct dots *from);

/* contexts */
uint64_t ctx_get(const struct dots *c, const struct sid *sid);         /* 0 when absent */
bool     ctx_covers(const struct dots *c, const struct dot *d);
void     ctx_raise(struct dots *c, const struct sid *sid, uint64_t seq); /* c[sid] = max(c[sid], seq) */
void     ctx_union(struct dots *c, const struct dots *other);

/* dot sets */
bool dots_has(const struct dots *d, const struct dot *x);
void dots_add(struct dots *d, const struct dot *x);
void dots_union(struct dots *d, const struct dots *other);

int  dot_cmp(const struct dot *a, const struct dot *b);

/* On the wire: [[sid, seq]...]. Decoding demands the order above (one pair a stream for a context) and seq in 1..LIMIT_SEQ, and
 * fails the reader otherwise. `d` is replaced. */
void ctx_put(struct buf *b, const struct dots *c);
void ctx_read(struct mp *m, struct dots *c);
void dots_put(struct buf *b, const struct dots *d);
void dots_read(struct mp *m, struct dots *d);

#endif
