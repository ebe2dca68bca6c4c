/* api: the node's side of the control socket: one table of commands (proto/ctl.h says what each takes and gives). Requests are
 * answered at once, or kept waiting (wait, scan, invite --wait, events, cat) without blocking the loop. Only the node's own user and root
 * are let in (SO_PEERCRED), the socket has mode 0600. A client that does not read is cut off when 64 MiB wait for it. */
#ifndef NODE_API_H
#define NODE_API_H

#include "node/node.h"

int  api_new(struct node *n, struct api **out) MUST_CHECK;   /* binds HOME/control.sock, replacing a dead one */
/* What a crash has left is dropped: wants of requests that nobody waits for any more. Before api_new. */
int  api_clean_up(struct node *n) MUST_CHECK;
void api_free(struct api **a);                               /* also removes the socket file */
bool api_working(const struct api *a);                       /* somebody reads or restores a version */
void api_poll(struct api *a);                                /* something may have changed that a waiting request waits for */
void api_event(struct api *a, const struct buf *map);        /* one encoded map to everybody who follows `events`; kept for `events` without follow (latest 1000) */
void api_locked(struct api *a);                              /* the lock has come, gone or changed: for `gate follow` */
/* What became of an invite (inviter.h): for `invite --wait`. */
void api_joined(struct api *a, uint64_t invite, const struct id *dev, const char *name);
void api_invite_ended(struct api *a, uint64_t invite, const char *why);

#endif
