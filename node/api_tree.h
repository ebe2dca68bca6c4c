/* api_tree: the insides of bringing back a former state of the folder.
 *   api_tree.c       the request from its beginning to its reply
 *   api_tree_plan.c  which paths are to become what they were */
#ifndef NODE_API_TREE_H
#define NODE_API_TREE_H

#include "node/api_priv.h"

/* One path. `entry` is what it was: 0 = nothing. */
struct step {
    char *path; size_t len;
    int64_t id, entry, stream; uint64_t seq, size;
    enum kind kind;
    struct id root; uint32_t nblocks;  /* 0: its content stands in its entry */
    bool away, asked, gone;            /* not here when it was planned; a want is ours; nobody has it */
};
struct tree {
    struct node *n;
    struct tree_request q;
    struct step *v; size_t nv, cap;
    size_t at, restored, deleted, unchanged;
    size_t existed;                    /* paths that were there */
    char after[LIMIT_PATH + 1]; size_t afterlen;   /* up to where it is planned */
    struct hist *holders;
    uint64_t fetched;                  /* bytes, when there was progress last */
};

/* Plans the directory itself; then what is in it, a few hundred paths a call, for as long as there is more. Nothing is changed. */
int tree_plan_dir(struct tree *t) MUST_CHECK;
int tree_plan_some(struct tree *t, bool *more) MUST_CHECK;

#endif
