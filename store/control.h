/* control: the group's control log on disk: HOME/control.log, append-only, so that membership survives the loss of the index.
 * Format: "LNYDCTL1" | then per record: length (u32 LE) | signed blob. Record 0 is the genesis blob, record n is CTL n.
 * Every record verifies itself (signature, hash chain), so there is no checksum; a torn tail (a crash while appending) is cut off
 * at opening. Appending is durable (fsync) before it returns. */
#ifndef STORE_CONTROL_H
#define STORE_CONTROL_H

#include "proto/buf.h"
#include "proto/group.h"

struct control;
int  control_create(const char *path, const struct bytes *genesis) MUST_CHECK;                 /* ERR_EXISTS */
int  control_open(const char *path, struct control **out) MUST_CHECK;                          /* ERR_NOTFOUND, ERR_CORRUPT */
void control_close(struct control **c);
struct group *control_group(struct control *c);                                                /* borrowed: the state after all records */
int  control_append(struct control *c, const void *blob, size_t len) MUST_CHECK;               /* decodes, group_apply, then disk; all or nothing */
/* Blob of record n (0 = genesis); ERR_NOTFOUND. Borrowed until the next append. */
int  control_record(const struct control *c, uint64_t n, struct bytes *blob) MUST_CHECK;

#endif
