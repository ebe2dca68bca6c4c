/* receipt: the proof that devices have reached a required version, for people who have no node and no home.
 *
 * A receipt is a vector (record.h) in which its device says that it has reached a requirement, and which shows it: it names every
 * stream of the requirement's minimum with contents at least that far. The device was a member when it signed, which the control
 * record that the vector names tells.
 *
 * A file of receipts carries all that is needed to check them: the genesis, the control log, the id of the requirement, and one receipt a
 * device. A receipt that was signed before the record that requires this is one of an earlier requirement, whose id an admin has used again.
 * The file proves what the group with this id has done; whether that is the reader's own group, only he knows: the id is to be shown.
 * Format (docs/PROTOCOL.md "A file of receipts"): "LNYDRCP1" | msgpack [1, genesis, [record...], id, [vector...]]. */
#ifndef PROTO_RECEIPT_H
#define PROTO_RECEIPT_H

#include "proto/group.h"

#define RECEIPT_MAGIC "LNYDRCP1"

/* Whether v is a receipt for the requirement with this id. g: the group as it was after the control record that v names.
 * ERR_BAD, with what is wrong about it. */
int receipt_check(const struct group *g, const uint8_t id[static 16], const struct vec *v) MUST_CHECK;

/* One of a file. */
struct receipt {
    struct id dev;
    uint64_t signed_ms, since_ms;        /* by the clock of the device: when it signed, since when it has it */
    bool partial;                        /* VEC_PARTIAL: it leaves out what its rules say, of what is required too, or a reader has changed something */
};
struct receipts {
    struct group group;                  /* after all records of the file */
    uint64_t log_ms;                     /* the time of the last of them: who joined, left or cancelled later the file does not know */
    const struct requirement *what;      /* of it */
    struct receipt *of; size_t n;        /* by dev */
};
/* Checks everything: signatures, the chain from the genesis on, every receipt. ERR_BAD, with what is wrong; then *out needs no release. */
int  receipts_read(const void *data, size_t len, struct receipts *out) MUST_CHECK;
void receipts_release(struct receipts *r);
const struct receipt *receipts_find(const struct receipts *r, const struct id *dev);     /* NULL: none */

/* Writes such a file. record, vec: signed blobs, one behind the other: those of the control log from 1 on, and the receipts by dev.
 * ERR_FULL: longer than LIMIT_RECEIPTS. */
struct receipts_parts { struct bytes genesis, record; size_t nrecord; uint8_t id[16]; struct bytes vec; size_t nvec; };
int receipts_write(struct buf *out, const struct receipts_parts *p) MUST_CHECK;

#endif
