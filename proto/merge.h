/* merge: what supersedes what, and who wins. Pure functions; docs/PROTOCOL.md "Merging" is their specification.
 *
 * A supersedes B (same path) if A.ctx covers B's dot and B's dot is not in A.except. The state of a path is the set of its
 * entries that no other entry supersedes: the heads. So the state depends on the set of entries alone, never on their order.
 *
 * Why `except`: a device whose version B lost to X and whose user then edits X writes an entry of the same stream as B, with a
 * greater number; whoever descends from it covers B by number without ever having seen its content merged. The exception
 * carries "B is not superseded" along. */
#ifndef PROTO_MERGE_H
#define PROTO_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/vv.h"

/* What merging needs to know of an entry. ctx and except are borrowed or owned as the holder decides. */
struct version {
    struct dot  dot;
    struct dots ctx, except;
    uint64_t    hlc;
    bool        tombstone;
    bool        directory;
    bool        required;   /* covered by the latest REQUIRE of the control log */
};

bool merge_supersedes(const struct version *a, const struct version *b);

/* Moves the heads of v[0..n) to the front, in unspecified order, and returns their number. Takes n log n, and a step for each pair
 * and each exception that they name: a member may write any number of versions of one path.
 * Entries that supersede each other in a circle, which only forged ones can, are all dead: then the number may be 0. */
size_t merge_heads(const struct version **v, size_t n);

/* Index of the winner among n > 0 heads: greatest of (not tombstone, directory, required, hlc, sid); ties within a stream by seq.
 * A tombstone never wins over what lives, even a required one: some have forgotten it. A directory is shown rather than a file of the same
 * path, even a required one, since other things live in it, which could not be there else, nor could the file: it waits as a conflict. */
size_t merge_winner(const struct version *const *heads, size_t n);

/* The context of a new entry. `ctx` and `except` are cleared first. `self` is the author's stream.
 * An edit: `base` is the version that was on disk (NULL when nothing was), heads are all n known heads of the path.
 *   ctx = base.ctx + base.dot; except = base.except + every other head that ctx covers or that is of the author's own stream. */
void merge_context_edit(struct dots *ctx, struct dots *except, const struct sid *self,
                        const struct version *base, const struct version *const *heads, size_t n);
/* A delete or a resolve: ctx = union over all heads and their dots; except = those of their exceptions which the author has
 * not seen and none of them supersedes. `seen` says whether the author holds (or held) that dot. */
void merge_context_all(struct dots *ctx, struct dots *except, const struct version *const *heads, size_t n,
                       bool (*seen)(void *arg, const struct dot *d), void *arg);

#endif
