/* api_priv: the insides of api.
 *   api.c          socket, sessions, frames, the table of commands, requests that wait
 *   api_status.c   what the node is and does
 *   api_history.c  versions of files: log, conflicts, resolve
 *   api_content.c  the content of a version: cat, restore
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
    uint64_t number;                               /* invite, peers: what check needs to remember */
    void *data; void (*release)(void *data);       /* of the handler */
    struct session *next;
};
#define SESSION_LOW  (4u << 20)
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

/* Values. */
void put_time(struct buf *b, const char *key, uint64_t ms);    /* 0: nil */
void put_text(struct buf *b, const char *key, const char *v);  /* NULL: nil */
void put_u64(struct buf *b, const char *key, uint64_t v);
void put_bool(struct buf *b, const char *key, bool v);
void put_id(struct buf *b, const char *key, const struct id *v);
void put_path(struct buf *b, const char *key, const void *path, size_t len);

/* Handlers. */
typedef int (*handler)(struct session *s, const struct bytes *args);
int run_status(struct session *s, const struct bytes *args);
int run_wait(struct session *s, const struct bytes *args);
int run_scan(struct session *s, const struct bytes *args);
int run_pause(struct session *s, const struct bytes *args);
int run_resume(struct session *s, const struct bytes *args);
int run_devices(struct session *s, const struct bytes *args);
int run_invite(struct session *s, const struct bytes *args);
int run_config(struct session *s, const struct bytes *args);
int run_events(struct session *s, const struct bytes *args);
int run_down(struct session *s, const struct bytes *args);
int run_version(struct session *s, const struct bytes *args);
int run_log(struct session *s, const struct bytes *args);
int run_conflicts(struct session *s, const struct bytes *args);
int run_resolve(struct session *s, const struct bytes *args);
int run_cat(struct session *s, const struct bytes *args);
int run_restore(struct session *s, const struct bytes *args);

#endif
