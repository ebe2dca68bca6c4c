/* epoch: the key of the group that is renewed when a device is revoked (docs/PROTOCOL.md "Epochs").
 *
 * It is in the control log, sealed to each device: an EPOCH seals it to all members, an ADD to the one that it adds. So a device finds the
 * one that is in force in the later of the last EPOCH and its own ADD, whatever it had before, also when the log was switched to another
 * chain. Only the founder of a group has the first one from nowhere. */
#ifndef NODE_EPOCH_H
#define NODE_EPOCH_H

#include "proto/keys.h"
#include "store/control.h"

/* 1: *epoch and key are those in force. 0: there was none yet, and this device founded the group. ERR_NOTFOUND: whoever renewed it left this
 * device out; ERR_DENIED, ERR_BAD: what it was given cannot be opened, or is of another epoch. */
int  epoch_open(const struct control *c, const struct group *g, const struct device_keys *k, uint64_t *epoch, uint8_t key[static 32]) MUST_CHECK;
/* It is this device's part to renew it: it was the last to revoke somebody, or it is an admin and who was is none any more. */
bool epoch_is_due(const struct group *g, const struct id *self);
/* The number of the next one: later than that of the group, and than that of the key this device has, which may be of a chain that lost. */
uint64_t epoch_next(const struct group *g, uint64_t own);
void epoch_seal(const uint8_t key[static 32], uint64_t epoch, const uint8_t tr_pk[static 32], uint8_t out[static SEALED_KEYS]);
/* The keys of an EPOCH: to all members. They are in one record, or some would have the new key and others not: in a group of more than about
 * 2,000 members they do not fit into one, and it keeps the key that it has. */
bool epoch_fits(const struct group *g);
void epoch_seal_all(const struct group *g, const uint8_t key[static 32], uint64_t epoch, struct buf *out);

#endif
