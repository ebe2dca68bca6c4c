/* api_priv: the insides of api.
 *   api.c          socket, sessions, frames, the table of commands, requests that wait
 *   api_status.c   what the node is and does
 *   api_history.c  the versions of a path; api_kept.c what is kept of it and no version names
 *   api_log.c      versions as they are listed, and which device holds their content: log, conflicts
 *   api_content.c  the content of a version, from here or from a peer: cat
 *   api_restore.c  restore: what is to be brought back
 *   api_restore_file.c  one version of one path
 *   api_tree.c     a former state of the folder, or of a directory: restore --at
 *   api_check.c    check, gc
 *   api_device.c   device: roles, names, revocation; api_recovery.c a lost owner
 *   api_policy.c   policy
 *   api_audit.c    audit: who did what, and whether that is what was signed
 *   api_require.c  require, api_require_plan.c what it would mean; api_gate.c gate: the same from the other side
 *   api_snapshot.h snapshot, in files of its own
 *
 * A session is one connection, which is one request. Its life:
 *
 *   READING --whole request--> RUNNING --last reply--> CLOSING --all sent--> DEAD
 *      \---------\------ the client has gone, or does not read -----------/
 * A DEAD session has no descriptor in the loop and is freed by the next tick: so a handler, or anything that it calls, may end any
 * session without pulling it away under somebody. Replies to it are dropped.
 *
 * A handler answers at once (session_reply with more = false), or returns with the session RUNNING: then `check`, if set, is called
 * whenever something may have changed until it has answered, or time is over. Failures are returned: api.c answers with err_text. */
#ifndef NODE_API_PRIV_H
#define NODE_API_PRIV_H

#include "node/api.h"
#include "node/hist.h"
#include "proto/ctl.h"

#define NO_LIMIT UINT64_MAX
#define VERSION_ID 40                  /* 16 hex digits, '-', a number, NUL */

enum session_state { SESSION_READING, SESSION_RUNNING, SESSION_CLOSING, SESSION_DEAD };
struct session {
    struct api *api;
    struct node *n;
    int fd;
    enum session_state state;
    struct buf in, out; size_t sent;               /* out: frames; the first `sent` bytes have gone */
    int  (*check)(struct session *s);              /* negative: the request fails with that */
    void (*late)(struct session *s);               /* at `until`; NULL: no end */
    void (*drained)(struct session *s);            /* less than SESSION_LOW bytes wait to be sent again */
    uint64_t began, until;                         /* loop_now */
    bool follow;                                   /* events */
    bool gate;                                     /* gate follow */
    bool inviting;                                 /* invite --wait, for the invite `number` */
    uint64_t number;                               /* what check needs to remember: an invite, how many peers */
    void *data; void (*release)(void *data);       /* of the handler */
    struct session *next;
};
#define SESSION_LOW  (2u << 20)
size_t session_waiting(const struct session *s);   /* bytes not sent yet */

/* One reply; `value` NULL is nil. The last one has more = false. */
void session_reply(struct session *s, bool more, const struct buf *value);
void session_fail(struct session *s, enum exit_code code, const char *text);
/* Keeps the request waiting. timeout_ms NO_LIMIT: without `late`. The first check is made soon, not from within. */
void session_wait(struct session *s, int (*check)(struct session *), uint64_t timeout_ms, void (*late)(struct session *));

struct api {
    struct node *n;
    int fd;
    char path[108];
    struct session *sessions;
    size_t nsession;
    struct loop_timer tick;
    struct buf *ring; size_t ring_at;              /* EVENTS_KEPT events, the oldest at ring_at once it is full */
    size_t nring;
};
void api_ring_each(struct api *a, void (*fn)(struct session *, const struct buf *), struct session *s);

/* Arguments. A wrong type or a missing one is ERR_USAGE with the argument's name. */
int arg_u64(const struct bytes *args, const char *key, uint64_t *v) MUST_CHECK;    /* absent: *v stays */
int arg_bool(const struct bytes *args, const char *key, bool *v) MUST_CHECK;
int arg_text(const struct bytes *args, const char *key, char **v) MUST_CHECK;      /* allocated; absent: NULL. No NUL in it */
int arg_path(const struct bytes *args, const char *key, bool needed, struct bytes *v) MUST_CHECK;  /* checked; absent: len 0 */

/* Whether there is a folder; else ERR_NOTFOUND with what is the matter with it. */
int need_folder(struct node *n) MUST_CHECK;

/* ERR_DENIED when this device does not belong to the group any more, with what is the matter. */
int need_member(const struct node *n) MUST_CHECK;
int need_admin(struct node *n) MUST_CHECK;         /* ERR_DENIED also when it is neither owner nor admin */
/* A member that is one still, by its name; ERR_NOTFOUND. name NULL: ERR_USAGE. */
int find_device(struct node *n, const char *name, const struct member **out) MUST_CHECK;
int put_cuts(struct node *n, const struct id *dev, struct buf *out) MUST_CHECK;    /* what this node has of a device: the cuts of a record */
/* device recover, device recovery new (api_recovery.c): both answer later. */
int recover(struct session *s, const char *phrase, const char *lost) MUST_CHECK;
int recovery_new(struct session *s) MUST_CHECK;

/* Values. */
void put_time(struct buf *b, const char *key, uint64_t ms);    /* 0: nil */
void put_text(struct buf *b, const char *key, const char *v);  /* NULL: nil */
void put_u64(struct buf *b, const char *key, uint64_t v);
void put_bool(struct buf *b, const char *key, bool v);
void put_id(struct buf *b, const char *key, const struct id *v);
void put_device(struct buf *b, struct node *n, const struct member *m);    /* a map of the contract */
void put_required(struct buf *b, struct node *n);              /* "required" of the status (api_require.c) */
void put_path(struct buf *b, const char *key, const void *path, size_t len);
/* Answers with who lacks how much of these cuts, and who cannot be reached (api_require_plan.c). to: as in a record. */
int require_plan(struct session *s, const struct bytes *to, const struct bytes *cuts) MUST_CHECK;

/* ---- versions (api_history.c) ---- */

const char *member_name(struct node *n, const struct id *dev);         /* "?" when there is none */
/* Whether a content of so many blocks is on this disk; 0: it stands in its entry. */
bool is_here(struct node *n, const struct id *root, uint32_t nblocks);

struct past { struct ix_entry row; struct entry ent; uint8_t *raw; };
/* All versions of a path, newest first. */
struct history {
    struct node *n;
    char *name; size_t len;
    int64_t path, winner;
    struct past *v; size_t nv, cap;
    struct past *kept; size_t nkept;               /* what is of no version, newest first (api_kept.c); row.id is 0 */
};
/* ERR_NOTFOUND: there never was such a path. Then, and on any failure, *h needs no release. */
uint64_t inquiry_ms(const struct node *n);          /* how long hist_ask is worth waiting for */
int  history_load(struct node *n, const struct bytes *path, struct history *h) MUST_CHECK;
int  history_load_id(struct node *n, int64_t path, struct history *h) MUST_CHECK;       /* the same, by the id of the path */
/* The same, and what is kept and of no version: there may be no version at all then. */
int  history_load_kept(struct node *n, const struct bytes *path, struct history *h) MUST_CHECK;
void history_release(struct history *h);
const struct past *history_winner(const struct history *h);    /* never NULL; there must be a version */
int  history_need_version(const struct history *h) MUST_CHECK;    /* ERR_NOTFOUND when all there is was only kept */
/* By its id (or the beginning of the stream's part of it). ERR_NOTFOUND, also when it fits several. */
int  history_find(const struct history *h, const char *id, const struct past **out) MUST_CHECK;
const struct past *history_latest(const struct history *h);            /* what is there, or was before it was deleted */
const struct past *history_at(const struct history *h, uint64_t ms);   /* what was shown then; NULL: nothing was known of the path */
bool history_lost(const struct history *h, const struct past *p);      /* waits as a conflict */
bool version_lost(const struct ix_entry *row, const struct entry *ent, int64_t winner, const struct entry *won);
const char *version_id(struct node *n, const struct ix_entry *row, char out[static VERSION_ID]);
const char *dot_id(const struct dot *d, char out[static VERSION_ID]);   /* the same of an entry's dot */
const char *version_device(struct node *n, const struct ix_entry *row);
/* ---- what is kept and no version names (api_kept.c) ---- */
int  kept_load(struct history *h) MUST_CHECK;
bool kept_is_id(const char *id);                               /* of such a content, not of a version */
const char *kept_id(const struct id *root, char out[static VERSION_ID]);
const struct past *kept_find(const struct history *h, const char *id, size_t *found);  /* by the beginning of its id; the last of those found */
/* One transaction of the engine around `change`; afterwards published. */
int  api_commit(struct node *n, int (*change)(struct node *n, void *arg), void *arg) MUST_CHECK;

/* ---- the content of a version (api_content.c) ---- */

/* A request that needs it, the first member of a handler's own struct. It belongs to its session; a job that is under way when the
 * session goes frees it at its end. `job` has at most one run at a time. */
struct work {
    struct job job;
    struct node *n;
    struct session *s;                             /* NULL: has gone */
    bool running;                                  /* a job is under way */
    bool asked;                                    /* the want of the index is ours */
    struct hist *holders;                          /* who has it, when it is not here */
    char *path; size_t len;
    struct ix_entry row; struct entry ent; struct buf raw;
    char version[VERSION_ID], device[LIMIT_DEVICE_NAME + 1];
    struct place_of at;                            /* where its blocks lie, once `go` is called */
    struct content_list list;                      /* and what they are */
    int code; char text[256];                      /* of the job */
    int  (*go)(struct work *w);                    /* its content is here */
    void (*end)(struct work *w);                   /* releases what is the handler's. May be NULL */
};
/* size: of the struct that begins with a work. */
int  work_new(struct session *s, const struct history *h, const struct past *p, size_t size, struct work **out) MUST_CHECK;
/* Calls go now, or when a peer has sent the content. ERR_NOTFOUND, now or later: no device that is online has it. */
int  work_begin(struct work *w) MUST_CHECK;
void work_submit(struct work *w);
/* At the beginning of the job's `done`: whether there is still a session that wants to know. If not, the work is gone. */
bool work_back(struct work *w);
/* In the worker: notes why it failed. */
int  work_failed(struct work *w, int code);
/* Whether our role allows us to make versions; else ERR_DENIED. */
int  need_writer(struct node *n) MUST_CHECK;

/* A version of a path takes its place again, or that of `to` (len 0: none) (api_restore_file.c). */
int  restore_file(struct session *s, const struct history *h, const struct past *p, const struct bytes *to) MUST_CHECK;

/* ---- a former state of the folder (api_tree.c) ---- */

struct tree_request {
    struct bytes dir, to;                          /* borrowed for the session's life; dir empty: the whole folder; to empty: in place */
    uint64_t at;                                   /* ms */
    bool dry_run, partial;
};
/* Brings it back, as new versions, and answers the request. What is on the disk has been recorded. */
void tree_restore(struct session *s, const struct tree_request *q);

/* Handlers. */
typedef int (*handler)(struct session *s, const struct bytes *args);
int run_status(struct session *s, const struct bytes *args);
int run_wait(struct session *s, const struct bytes *args);
int run_scan(struct session *s, const struct bytes *args);
int run_pause(struct session *s, const struct bytes *args);
int run_resume(struct session *s, const struct bytes *args);
int run_device(struct session *s, const struct bytes *args);
int run_devices(struct session *s, const struct bytes *args);
int run_invite(struct session *s, const struct bytes *args);
int run_config(struct session *s, const struct bytes *args);
int run_events(struct session *s, const struct bytes *args);
int run_down(struct session *s, const struct bytes *args);
int run_audit(struct session *s, const struct bytes *args);
int run_version(struct session *s, const struct bytes *args);
int run_log(struct session *s, const struct bytes *args);
int run_conflicts(struct session *s, const struct bytes *args);
int run_resolve(struct session *s, const struct bytes *args);
int run_check(struct session *s, const struct bytes *args);
int run_gc(struct session *s, const struct bytes *args);
int run_cat(struct session *s, const struct bytes *args);
int run_restore(struct session *s, const struct bytes *args);
int run_snapshot(struct session *s, const struct bytes *args);
int run_require(struct session *s, const struct bytes *args);
int run_gate(struct session *s, const struct bytes *args);
int run_policy(struct session *s, const struct bytes *args);

#endif
