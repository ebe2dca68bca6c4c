/* api_snapshot: the insides of `lanyard snapshot`.
 *   api_snapshot.c          create, remove, list
 *   api_snapshot_moment.c   what was there, and that it is here
 *   api_snapshot_restore.c  restore
 *   api_snapshot_export.c   export
 *
 * A moment is the state of the folder (or of what lies at and beneath one path) that a snapshot names, for a request that works with it:
 *
 *   collect   which items there are, a slice of the paths at a time, so that a large folder holds up nobody
 *   gather    all their contents are made to be on this disk: what is not is asked for, and fetched into kept/ if others have all of it
 *   ready     `go` is called, once
 *
 * It belongs to its session as a `work` does. */
#ifndef NODE_API_SNAPSHOT_H
#define NODE_API_SNAPSHOT_H

#include "node/api_priv.h"

#define SLICE 512                    /* paths or items at a time */
#define STALLED_MS (60u * 1000)      /* without any progress: given up */

struct item {
    int64_t path, entry;             /* entry 0: was not there, is to be deleted */
    enum kind kind;                  /* of the entry; with entry 0 of what is there now */
    uint64_t size;
    struct id root;
    char *name; size_t len;
    bool asked;                      /* the want of the index is ours */
};
struct moment {
    struct node *n;
    struct session *s;               /* NULL: has gone */
    bool running;                    /* a job is under way, which frees the moment at its end when the session has gone */
    char name[LIMIT_SNAPSHOT_NAME + 1];
    uint64_t time_ms;
    struct dots vector;
    char *under; size_t underlen;    /* "": the whole folder */
    bool changes;                    /* collect only what is not as it was; else all that was there */
    bool found;                      /* something was, or is, at or beneath `under` */
    int64_t next, last;              /* path ids */
    struct item *v; size_t n_items, cap;
    size_t at;                       /* the next item to look at, in whatever is being done */
    size_t *missing, n_missing;      /* items whose content is not here yet */
    struct hist *holders;            /* who has it */
    uint64_t progress;               /* loop_now of the last one */
    int  (*collected)(struct moment *m);   /* after collect; 1 = go on to gather, 0 = it has answered. May be NULL */
    int  (*go)(struct moment *m);
    void (*end)(struct moment *m);         /* releases what is the handler's. May be NULL */
};
/* size: of the struct that begins with a moment. `device`: whose, when several made one of that name; NULL: the current. ERR_NOTFOUND. */
int  moment_new(struct session *s, const char *name, const char *device, const struct bytes *under, size_t size, struct moment **out) MUST_CHECK;
void moment_begin(struct moment *m);
void moment_free(struct moment *m);
/* The request goes on with `check`, soon: between two slices. */
void moment_again(struct moment *m, int (*check)(struct session *s));
bool moment_stalled(const struct moment *m);
/* Whether its content is on this disk: always true of what has none, or carries it in its entry. */
int  content_here(struct node *n, const struct ix_entry *row, bool *here) MUST_CHECK;

/* After scan_all, with session_wait: 1 = what lies in the folder now is recorded, 0 = not yet. */
int  snapshot_scanned(struct session *s) MUST_CHECK;
int  snapshot_restore(struct session *s, const char *name, const char *device, const struct bytes *under, bool dry_run) MUST_CHECK;
int  snapshot_export(struct session *s, const char *name, const char *device) MUST_CHECK;

#endif
