/* link: one request to the running node over its control socket, and the replies to it.
 *
 *   AUTO(request_release) struct request q = request_new("wait");
 *   request_u64(&q, "peers", 2);
 *   AUTO(link_close) struct link l = LINK_INIT;
 *   struct ctl_reply r;
 *   int code = link_ask(&l, home, &q, &r);              the first reply
 *   while (!code && r.more) code = link_next(&l, &r);   the others
 * All return exit codes: EXIT_NOT_RUNNING when there is no socket or nobody listens, the node's own code with its text when it is
 * not 0. A reply is valid until the next call on its link. */
#ifndef CLI_LINK_H
#define CLI_LINK_H

#include "proto/ctl.h"
#include "proto/limits.h"

struct request { const char *command; size_t nargs; struct buf args; };
struct request request_new(const char *command);
void request_release(struct request *q);
void request_str(struct request *q, const char *key, const char *v);      /* left out when v is NULL */
void request_path(struct request *q, const char *key, const char *v);     /* the same, as bin */
void request_u64(struct request *q, const char *key, uint64_t v);
void request_bool(struct request *q, const char *key, bool v);

struct link {
    int fd;
    struct buf in;            /* what was received and not yet consumed, after `used` bytes that were */
    size_t used;
};
#define LINK_INIT { .fd = -1, .in = BUF_INIT(LIMIT_CTL_REPLY + 4u + LINK_READ) }
#define LINK_READ (64u * 1024)

int link_open(struct link *l, const char *home);
int link_send(struct link *l, const struct request *q);
int link_next(struct link *l, struct ctl_reply *out);
bool link_ready(const struct link *l);      /* link_next would not wait; before poll on fd, which knows nothing of what has been received */
int link_ask(struct link *l, const char *home, const struct request *q, struct ctl_reply *out); /* the three in a row */
void link_close(struct link *l);

/* The process at the other end as a descriptor that becomes readable when it has ended; -1 when that cannot be had. */
int link_process(const struct link *l);

#endif
