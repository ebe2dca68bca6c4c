/* control: the group's control log on disk: HOME/control.log, append-only, so that membership survives the loss of the index.
 * Format: "LNYDCTL1" | then per record: length (u32 LE) | signed blob. Record 0 is the genesis blob, record n is CTL n.
 * Every record verifies itself (signature, hash chain), so there is no checksum; a torn tail (a crash while appending) is cut off
 * at opening. Appending is durable (fsync) before it returns.
 *
 * A chain that contradicts ours from record `from` on is given as the blobs of its records, one behind the other. Switching to it writes
 * the file anew, which then takes the old one's name: a crash leaves one chain or the other, whole. */
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
int control_hash(const struct control *c, uint64_t n, struct id *hash) MUST_CHECK;             /* of record n; ERR_NOTFOUND */
/* The same record, read; n >= 1. */
int control_ctl(const struct control *c, uint64_t n, struct ctl *out) MUST_CHECK;
/* Whether that chain weighs more than ours (group.h): 1 or 0. As group_apply when one of its records is not valid, or not of the chain. */
int control_judge(struct control *c, uint64_t from, const struct bytes *chain) MUST_CHECK;
/* 1 <= from <= the number of our last record; the chain has been judged. All or nothing; when it failed after that no more is appended. */
int control_switch(struct control *c, uint64_t from, const struct bytes *chain) MUST_CHECK;

/* Whether the file is, from its first byte to its last, the valid chain that is in memory when the check begins. It takes a tenth of a
 * millisecond a record, so it is done in steps:
 *   control_check_new -> control_check_step until *more is false, or it fails -> control_check_free
 * ERR_CORRUPT when it is not, ERR_IO when it cannot be read. What happens to the log meanwhile does not matter. */
struct control_check;
int  control_check_new(const struct control *c, struct control_check **out) MUST_CHECK;
int  control_check_step(struct control_check *k, bool *more) MUST_CHECK;
void control_check_free(struct control_check **k);

#endif
