/* record: the signed data of a group: cards, the genesis, control log records, change set headers, entries, version vectors.
 *
 * Every record is a msgpack array that begins with its format number 1. Signed bytes are stored, hashed, passed on and verified
 * as they were received; nothing is ever encoded again to verify it. A "signed" blob is the array [bin record, bin signature].
 * Decoders check all limits and all rules of docs/PROTOCOL.md "Records", refuse what has a field more or less (ERR_BAD), verify
 * the signature where the signer is known from the record itself (ERR_DENIED), and borrow byte strings from their input.
 *
 * Departures from a first design, because simpler with the same guarantees: a header names (dev, inc), from which the stream id
 * follows by hash, so that whoever receives it knows the key to verify with; and a `resolve` is an ordinary entry of the
 * survivor's kind and content with FLAG_RESOLVE, so that no reader has to follow a reference. */
#ifndef PROTO_RECORD_H
#define PROTO_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/buf.h"
#include "proto/id.h"
#include "proto/keys.h"
#include "proto/limits.h"
#include "proto/merge.h"
#include "proto/mp.h"

/* Every number is bounded. Counters and sequence numbers by LIMIT_SEQ; times and clocks by these: */
#define RECORD_MS_MAX  ((1ull << 47) - 1)  /* milliseconds since 1970, to the year 6429 */
#define RECORD_HLC_MAX ((1ull << 63) - 1)  /* its clock: fits a signed 64-bit column, and adding to it cannot wrap */
#define RECORD_CAPS_MAX ((1ull << 63) - 1) /* a bit set */

/* Every encoder checks what it wrote with the decoder's rules before signing: nobody signs what others would refuse. ERR_BAD
 * then, or ERR_FULL when `out` has no room; `out` is as before. The id of the signer in a record must be that of `k`. */

/* ---- signed blobs: [record, signature] ---- */
void signed_put(struct buf *out, const char *context, const void *rec, size_t len, const struct device_keys *k);
/* Splits a blob; verifies nothing. */
int signed_split(const void *blob, size_t len, struct bytes *rec, const uint8_t **sig) MUST_CHECK;

/* ---- CARD: who a device is.  [1, dev_pk, tr_pk, name, created_ms, caps], context "lanyard-card-1" ---- */
struct card {
    struct id dev;
    uint8_t tr_pk[32];
    char name[LIMIT_DEVICE_NAME + 1];   /* UTF-8, 1..64 bytes, no control characters, no '/' */
    uint64_t created_ms;
    uint64_t caps;
};
int card_encode(struct buf *out, const struct card *c, const struct device_keys *k) MUST_CHECK; /* a signed blob */
int card_decode(const void *blob, size_t len, struct card *out) MUST_CHECK;                    /* verified by its own key */
int device_name_check(const char *name) MUST_CHECK;

/* ---- GENESIS: [1, owner card blob, random(32), created_ms], context "lanyard-gen-1"; group_id = BLAKE2b-256(record) ---- */
struct genesis { struct card owner; uint64_t created_ms; struct id group; };
int genesis_encode(struct buf *out, const struct bytes *owner_card, uint64_t created_ms, const struct device_keys *k) MUST_CHECK;
int genesis_decode(const void *blob, size_t len, struct genesis *out) MUST_CHECK;

/* ---- CTL: [1, group_id, n, prev(32), ts_ms, signer, [op...]], context "lanyard-ctl-1" ----
 * n counts from 1; prev is the hash of record n-1, the group id for n = 1. */
enum role { ROLE_OWNER = 1, ROLE_ADMIN, ROLE_MEMBER, ROLE_READER };
const char *role_name(enum role r);
int role_parse(const char *s, enum role *out) MUST_CHECK;

/* A stream up to entry seq, whose change set ends in the header with this hash; seq 0 and no hash: nothing of the stream.
 * Lists of cuts are sorted by sid without repetition. */
struct cut { struct sid sid; uint64_t seq; struct id hdr_hash; };
enum ctl_op_type { OP_ADD = 1, OP_REVOKE, OP_ROLE, OP_EPOCH, OP_REQUIRE, OP_CANCEL, OP_DORMANT, OP_RELAY, OP_POLICY, OP_NAME, OP_RECOVERY };
#define SEALED_KEYS (32 + 8 + SEAL_EXTRA) /* k_epoch | epoch (u64 LE), sealed to a transport key: in ADD and in EPOCH */
enum require_mode { REQUIRE_PROMPT = 1, REQUIRE_AUTO, REQUIRE_STRICT };
const char *require_mode_name(enum require_mode m);
struct ctl_op {
    enum ctl_op_type type;
    struct bytes card;            /* ADD: signed card blob */
    enum role role;               /* ADD, ROLE */
    struct bytes sealed;          /* ADD: SEALED_KEYS bytes for the card's transport key */
    struct id dev;                /* REVOKE, ROLE, DORMANT, NAME */
    struct bytes cuts;            /* REVOKE, ROLE, REQUIRE (its min vector): raw [[sid, seq, hdr_hash]...] with its array header,
                                   * read with cut_next; empty bytes are written as the empty list */
    uint32_t ncuts;
    uint64_t epoch;               /* EPOCH */
    struct bytes keys;            /* EPOCH: raw [[dev, sealed]...] sorted by dev, at least one; read with epoch_key_next */
    uint32_t nkeys;
    uint8_t require_id[16];       /* REQUIRE, CANCEL */
    struct bytes text;            /* REQUIRE message, RELAY url, NAME the new shown name (device_name_check) */
    enum require_mode mode;       /* REQUIRE */
    uint64_t until_ms;            /* REQUIRE; 0 = no end */
    struct bytes to;              /* REQUIRE: raw [dev...] sorted, with its array header; empty bytes or list: all devices. Read with to_next */
    uint32_t nto;
    uint8_t relay_pk[32];         /* RELAY */
    struct id recovery;           /* RECOVERY: an Ed25519 key (proto/phrase.h), or none */
    struct bytes policy;          /* POLICY: raw map of str -> anything, sorted by key */
};
struct ctl {
    struct id group, prev, signer;
    uint64_t n, ts_ms;
    struct bytes ops;             /* raw array, checked; read with ctl_op_next */
    uint32_t nops;
    struct id hash;               /* BLAKE2b-256 of the record's bytes */
    size_t len;                   /* how many these are */
};
/* Fields 1..7 above in order; an op is [type, ...] with these:
 *   ADD card(bin), role, sealed        REVOKE dev, cuts             ROLE dev, role, cuts         EPOCH epoch, keys
 *   REQUIRE id, min, text, mode, until, to  CANCEL id                    DORMANT dev                  RELAY url, pk     POLICY map
 *   NAME dev, text                    RECOVERY pk
 * ctl_encode reads group, n, prev, ts_ms and signer of *c. */
int ctl_encode(struct buf *out, const struct ctl *c, const struct ctl_op *ops, size_t nops, const struct device_keys *k) MUST_CHECK;
int ctl_decode(const void *blob, size_t len, struct ctl *out) MUST_CHECK;   /* all ops checked, signature of `signer` verified */
/* The same of a blob that has been decoded before: its signature, which takes longer than all the rest, is not verified again. */
int ctl_decode_again(const void *blob, size_t len, struct ctl *out) MUST_CHECK;
struct mp ctl_ops(const struct ctl *c);                                     /* positioned at the first op */
void ctl_op_next(struct mp *m, struct ctl_op *op);
struct mp cuts_reader(const struct bytes *cuts);
void cut_next(struct mp *m, struct cut *c);
void cut_put(struct buf *b, const struct cut *c);                           /* [sid, seq, hdr_hash] */
struct mp to_reader(const struct bytes *to);
void to_next(struct mp *m, struct id *dev);
struct mp epoch_keys_reader(const struct bytes *keys);
void epoch_key_next(struct mp *m, struct id *dev, struct bytes *sealed);
void epoch_key_put(struct buf *b, const struct id *dev, const uint8_t sealed[static SEALED_KEYS]);

/* ---- HDR: a change set.  [1, group_id, dev, inc(8), first, count, root, prev, hlc_max, wall_ms, ctl_n, flags], "lanyard-cs-1"
 * root = Merkle root over its entries; prev = hash of the header before it in the stream, ID_NONE for first = 1. ---- */
struct header {
    struct id group, dev, root, prev;
    uint8_t inc[8];
    struct sid sid;               /* computed */
    uint64_t first;
    uint32_t count;
    uint64_t hlc_max, wall_ms, ctl_n, flags;    /* no flags yet: 0 */
    struct id hash;               /* BLAKE2b-256 of the record's bytes, computed by header_decode */
};
int header_encode(struct buf *rec, uint8_t sig[static SIG_LEN], const struct header *h, const struct device_keys *k) MUST_CHECK;
int header_decode(const void *rec, size_t len, const uint8_t sig[static SIG_LEN], struct header *out) MUST_CHECK;

/* ---- ENT: [kind, path, ctx, except, hlc, mode, size, mtime_ns, content, attrs, flags] ---- */
enum kind { KIND_FILE = 1, KIND_DIR, KIND_SYMLINK, KIND_TOMBSTONE, KIND_SNAPSHOT, KIND_NOTE };
/* A snapshot names the vector that is its ctx: everything that its author knew. It lies at a path of its own (proto/path.h), where
 * besides it there are only tombstones; nothing else of it is put on a disk. Its mtime is when it was made.
 * A note says what a user has done (proto/note.h). It lies at a path of its own, where there are only notes; it supersedes nothing, and
 * nothing supersedes it: it is there for ever. */
#define FLAG_RESOLVE 1u           /* this entry settles a conflict on purpose */
enum content_type { CONTENT_NONE, CONTENT_INLINE, CONTENT_BLOCKS };
/* nil | [0, bytes] | [alg = 1, class, nblocks, root]
 * root: for inline bytes and for a single block their BLAKE2b-256; for more blocks the root of the block list (proto/block.h).
 * So equal content of a class has equal root, and a single block needs no list. */
struct content {
    enum content_type type;
    uint8_t class;                /* chunker class, 0..2 */
    uint32_t nblocks;             /* 1.. for CONTENT_BLOCKS */
    struct id root;               /* computed for inline */
    struct bytes inline_bytes;
};
struct entry {
    enum kind kind;
    struct bytes path;
    struct version v;             /* v.dot is not on the wire: the caller sets it; ctx and except are owned */
    uint32_t mode;                /* permission bits, 0..0777; 0 for tombstones, no meaning for symlinks */
    uint64_t size;                /* bytes; 0 for directories and tombstones, target length for symlinks */
    int64_t mtime_ns;
    struct content content;       /* file: inline or blocks; symlink: inline target; note: inline; else none */
    uint64_t flags;
};
int  entry_encode(struct buf *out, const struct entry *e) MUST_CHECK;
/* Decodes into *out, whose dots are reused (init with {0}, then entry_release). path_check (or
 * path_check_snapshot, path_check_note) is part of it, and note_decode. */
int  entry_decode(const void *data, size_t len, struct entry *out) MUST_CHECK;
/* Gives a decoded entry its dot as leaf `index` < h->count of the change set with this header, and refuses (ERR_BAD) what it may
 * not say at that place: an hlc beyond the header's hlc_max, a context that covers the entry itself, exceptions that are not
 * older than it in its own stream. The caller of entry_decode does this for every entry from outside. */
int  entry_place(struct entry *e, const struct header *h, uint32_t index) MUST_CHECK;
void entry_release(struct entry *e);
/* Same kind, mode and content: never a conflict. The mode of a symlink does not count. A snapshot is like no other. */
bool entry_same(const struct entry *a, const struct entry *b);

/* ---- VEC: [1, group_id, dev, inst(8), ctr, wall_ms, ctl_n, ctl_hash, port, [[sid, known, content, tip8]...], fp(32), reqs, flags],
 * context "lanyard-vec-1". Always the full vector. port is where the device can be dialled, 0 = nowhere. reqs: raw
 * [[id(16), state, since_ms]...] sorted by id, with its array header; empty bytes are written as the empty list. tip8: the first 8
 * bytes of the hash of the stream's last header. Streams sorted by sid, 1 <= known, content <= known. (inst, ctr) orders the
 * vectors of a device: ctr grows within an instance. ---- */
#define VEC_REQS 64
#define VEC_REACHED 1u            /* of the states the one that others rely on */
#define VEC_PARTIAL 1u            /* it leaves out paths by rules of its own, or is a reader that changed something: content does not say that it has what is live */
struct vec_req { uint8_t id[16]; uint32_t state; uint64_t since_ms; };   /* state 0..255: where the device is with a REQUIRE */
struct vec_stream { struct sid sid; uint64_t known, content; uint8_t tip8[8]; };
struct vec {
    struct id group, dev;
    uint8_t inst[8];
    uint64_t ctr, wall_ms, ctl_n;
    struct id ctl_hash;
    uint16_t port;
    struct vec_stream *stream; size_t nstream;    /* owned */
    struct id fp;                 /* XOR of BLAKE2b-256(sid | seq LE) over the heads of all paths that are no tombstones: the audit of the live state */
    struct bytes reqs; uint32_t nreqs;            /* borrowed */
    uint64_t flags;                  /* VEC_... ; others may be set */
};
int  vec_encode(struct buf *out, const struct vec *v, const struct device_keys *k) MUST_CHECK;   /* a signed blob */
int  vec_decode(const void *blob, size_t len, struct vec *out) MUST_CHECK;   /* verified by v->dev; stream is allocated */
/* What a vector says, whenever it says so: hash of all behind wall_ms. Of a blob that vec_decode took. */
struct id vec_meaning(const void *blob, size_t len);
void vec_release(struct vec *v);
struct mp vec_reqs(const struct vec *v);                                     /* positioned at the first; nreqs of them */
void vec_req_next(struct mp *m, struct vec_req *r);
void vec_req_put(struct buf *b, const struct vec_req *r);
const struct vec_stream *vec_find(const struct vec *v, const struct sid *sid);  /* NULL when absent */
uint64_t vec_content(const struct vec *v, const struct sid *sid);               /* 0 when absent */
/* Its device has the contents up to the cut, and of the history that the cut names, as far as a vector tells. */
bool vec_shows(const struct vec *v, const struct cut *c);

/* ---- address card, for PEX: [1, group_id, dev, wall_ms, [addr...]], context "lanyard-addr-1"; addr = "HOST:PORT" text,
 * 1..LIMIT_ADDRS of them, none twice. HOST is a name, an IPv4 address, or an IPv6 address in brackets; never with a zone, which
 * means something on its own host only. ---- */
struct addr_card { struct id group, dev; uint64_t wall_ms; uint32_t naddr; char addr[LIMIT_ADDRS][64]; };
int addr_card_encode(struct buf *out, const struct addr_card *a, const struct device_keys *k) MUST_CHECK;
int addr_check(const void *s, size_t len) MUST_CHECK;   /* ERR_BAD: not HOST:PORT, or longer than 63 bytes */
int addr_card_decode(const void *blob, size_t len, struct addr_card *out) MUST_CHECK;

#endif
