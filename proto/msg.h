/* msg: the messages between nodes. Two frames: a msgpack head of at most LIMIT_HEAD bytes, [1, type, req_id, ...], and for some
 * types a raw body of at most LIMIT_BODY. A reply echoes the request's req_id. docs/PROTOCOL.md "Messages" lists every field.
 *
 * msg_encode writes a head; the sender adds the body. msg_decode checks a head completely; strings in it are borrowed. What is in
 * a body is said at each type; the functions below read them. A node that cannot serve a request answers ERR. */
#ifndef PROTO_MSG_H
#define PROTO_MSG_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/block.h"
#include "proto/limits.h"
#include "proto/merkle.h"
#include "proto/record.h"

#define PROTO_MIN 1
#define PROTO_MAX 1

enum msg_type {
    MSG_HELLO = 1, MSG_HELLO_OK, MSG_ERR, MSG_PING, MSG_PONG,
    MSG_GET_CTL = 10, MSG_CTL, MSG_GET_VEC, MSG_VEC, MSG_GET_CS, MSG_CS, MSG_GET_LIVE, MSG_LIVE, MSG_GET_TREE, MSG_TREE,
    MSG_HAVE, MSG_HAVE_OK, MSG_GET_BLK, MSG_BLK, MSG_PEX, MSG_FORK, MSG_GET_VECS, MSG_VECS, MSG_GET_HIST, MSG_HIST,
    MSG_JOIN1 = 30, MSG_JOIN2, MSG_JOIN3, MSG_JOIN4,
};
const char *msg_name(enum msg_type t);

enum msg_error { MSGERR_PROTO = 1, MSGERR_AUTH, MSGERR_CLOCK, MSGERR_BUSY, MSGERR_NODATA, MSGERR_FORKED, MSGERR_FLOOR, MSGERR_LOCKED };

/* Fields of the head behind [1, type, req_id], in this order; everything else has none:
 *   HELLO, HELLO_OK   group, dev, inst, proto_min, proto_max, wall_ms, ctl_n, ctl_hash, caps, port, nonce, sig;
 *                     HELLO_OK also [[sid, known]...] sorted by sid
 *   ERR               code, text, retry_ms                  PING, PONG   wall_ms, load
 *   GET_CTL           from                                  GET_CS       [[sid, from, to]...], credit
 *   GET_LIVE          from, to, cursor                      LIVE         next
 *   GET_TREE, HAVE    root, nblocks, first, count           TREE, HAVE_OK root, first, count
 *   GET_BLK           [[root, idx, id]...]                  BLK          [[item, status, len]...]
 *   GET_VECS          chosen, ages, since                   VECS         upto, more
 *   GET_HIST          path                                  JOIN1        proto_min, proto_max, hint, share
 *   JOIN2             share, tag                            JOIN3        tag */
#define MSG_OWN_STREAMS 64
#define MSG_RETRY_MAX_MS (24u * 3600 * 1000)
#define MSG_CREDIT_MAX (256u * 1024 * 1024)
#define MSG_PROTO_LIMIT 65535   /* greatest protocol number anybody may speak of */
struct msg_hello {                 /* HELLO, HELLO_OK */
    struct id group, dev;
    uint8_t inst[8];               /* random at every start of the node */
    uint64_t proto_min, proto_max, wall_ms, ctl_n, caps;
    struct id ctl_hash;
    uint16_t port;                 /* where this device can be dialled; 0 = nowhere */
    uint8_t nonce[32];
    uint8_t sig[SIG_LEN];          /* HELLO: hello_sign over (group, dev, tr_pk, nonce); HELLO_OK adds the caller's, see below */
    uint32_t nown; struct { struct sid sid; uint64_t known; } own[MSG_OWN_STREAMS]; /* HELLO_OK: what it knows of the caller's streams */
};
struct msg_range { struct sid sid; uint64_t from, to; };   /* entries from..to; sorted by (sid, from), not overlapping */
#define MSG_RANGES 256
struct msg_blk_want { struct id root; uint32_t idx; struct id id; };
enum blk_status { BLK_OK = 0, BLK_NODATA = 1, BLK_BUSY = 2 };
struct msg_blk_item { uint32_t item, status, len; };       /* item = index in the request, ascending; len bytes of the body, in
                                                            * order; 0 unless OK */

struct msg {
    enum msg_type type;
    uint64_t req;
    union {
        struct msg_hello hello;
        struct { enum msg_error code; struct bytes text; uint64_t retry_ms; } err;   /* text: at most LIMIT_TEXT */
        struct { uint64_t wall_ms, ctr; } ping;                                /* PING, PONG; of the vector published last */
        struct { uint64_t from; } get_ctl;                                     /* CTL: body = array of signed blobs n, n+1... */
        /* GET_VEC: nothing; VEC: body = one signed vector */
        struct { uint32_t n; struct msg_range range[MSG_RANGES]; uint64_t credit; } get_cs; /* CS: body = change sets, below */
        struct { struct bytes from, to; uint64_t cursor; } get_live;           /* paths from <= p < to in order of bytes, empty =
                                                                                * no bound; LIVE: body = live items, below */
        struct { uint64_t next; } live;                                        /* cursor for the next request, 0 = end */
        struct { struct id root; uint32_t nblocks, first, count; } get_tree;   /* nblocks >= 2; whole leaves:
                                                                                * first % LIMIT_TREE_LEAF == 0 */
        struct { struct id root; uint32_t first, count; } tree;                /* body = count block references */
        struct { struct id root; uint32_t nblocks, first, count; } have;
        struct { struct id root; uint32_t first, count; } have_ok;             /* body = bitmap, bit i%8 of byte i/8 */
        struct { uint32_t n; struct msg_blk_want want[LIMIT_GET_BLK]; } get_blk;
        struct { uint32_t n; struct msg_blk_item item[LIMIT_GET_BLK]; } blk;   /* body = the blocks, one behind the other */
        struct { bool chosen, ages; uint64_t since; } get_vecs;                /* body = array of held */
        struct { uint64_t upto; bool more; } vecs;                             /* body = array of told */
        struct { struct bytes path; } get_hist;                                /* HIST: body = [[sid, seq, root]...] held here */
        /* PEX: body = array of signed address cards. FORK: body = [[hdr, sig], [hdr, sig]] */
        struct { uint64_t proto_min, proto_max; char hint[3]; uint8_t share[32]; } join1; /* docs/PROTOCOL.md "Joining"; hint: a str of
                                                                                * 2, code_hint of the code that is meant */
        struct { uint8_t share[32]; uint8_t tag[64]; } join2;
        struct { uint8_t tag[64]; } join3;                                     /* body = sealed card */
        /* JOIN4: body = sealed membership */
    };
};
/* `head` is cleared first. */
int msg_encode(struct buf *head, const struct msg *m) MUST_CHECK;
int msg_decode(const void *head, size_t len, struct msg *out) MUST_CHECK;
bool msg_has_body(enum msg_type t);
/* Whether a body of `len` bytes can belong to this head: LIMIT_BODY, none where there is none, and the length that a TREE, HAVE_OK
 * or BLK head tells. */
int msg_body_check(const struct msg *m, size_t len) MUST_CHECK;

/* HELLO signatures, context "lanyard-hello-1": over group | dev | tr_pk | nonce of the sender, and in a reply also the caller's
 * dev | tr_pk | nonce (caller NULL in a HELLO). The receiver passes the transport key that CURVE saw. */
struct hello_party { struct id dev; uint8_t tr_pk[32]; uint8_t nonce[32]; };
void hello_sign(uint8_t sig[static SIG_LEN], const struct id *group, const struct hello_party *self,
                const struct hello_party *caller, const struct device_keys *k);
int hello_verify(const uint8_t sig[static SIG_LEN], const struct id *group, const struct hello_party *sender,
                 const struct hello_party *caller) MUST_CHECK;

/* ---- bodies that are arrays ----
 * mp_check and the array's header: leaves m at the first of n elements. Those of CTL and PEX are signed blobs: mp_skip. */
int  body_open(const void *body, size_t len, struct mp *m, uint32_t *n) MUST_CHECK;

/* HIST: [[sid, seq, root]...], sorted by (sid, seq); root is ID_NONE for what has no content. hist_next: *before is the element
 * before, zeroed at the start. */
struct hist_item { struct dot dot; struct id root; };
void hist_put(struct buf *b, const struct hist_item *it);
int  hist_next(struct mp *m, const struct hist_item *before, struct hist_item *out) MUST_CHECK;

/* GET_VECS: [[dev, inst, ctr, wall_ms, meaning]...], the vectors that are new at the client since it last asked; meaning: the first 8 bytes of
 * vec_meaning. VECS: [[dev, age_ms, vec]...]: how long ago anything was heard of that device, and its vector as a blob; empty when the client
 * needs none: it is not newer, or says the same. Both sorted by dev, none twice: else one answer could hold as many signatures to verify as
 * fit into it. Before the first *before is zeros. */
#define MSG_HELD 1600           /* in a request, which so is shorter than LIMIT_WIRE_REQUEST */
#define MSG_AGE_MAX_MS (24u * 3600 * 1000)
struct vec_held { struct id dev; uint8_t inst[8]; uint64_t ctr, wall_ms; uint8_t meaning[8]; };
struct vec_told { struct id dev; uint64_t age_ms; struct bytes vec; };
void held_put(struct buf *b, const struct vec_held *h);
int  held_next(struct mp *m, const struct vec_held *before, struct vec_held *out) MUST_CHECK;
void told_put(struct buf *b, const struct vec_told *t);
int  told_next(struct mp *m, const struct vec_told *before, struct vec_told *out) MUST_CHECK;
/* Of two vectors of one device: in one start of it the number decides, of two starts the time of its own clock. */
bool vec_newer(const struct vec *a, const struct vec_held *than);

/* FORK: [[hdr, sig], [hdr, sig]]. fork_verify: both are signed by the same device for the same stream, overlap and differ: a proof
 * that convinces everybody. ERR_BAD or ERR_DENIED when it proves nothing. */
struct signed_header { struct bytes hdr; const uint8_t *sig; };
void fork_put(struct buf *b, const struct signed_header *x, const struct signed_header *y);
int  fork_verify(const void *body, size_t len, struct header h[static 2]) MUST_CHECK;

/* ---- body of CS: array of [hdr, sig, [item...]]; item = bin ENT | [first, count, hash] of a pruned run, in order ---- */
struct cs { struct bytes hdr; const uint8_t *sig; struct bytes items; uint32_t nitems; };
int  cs_body_open(const void *body, size_t len, struct mp *m, uint32_t *n) MUST_CHECK;  /* body_open, at most LIMIT_CS_REPLY */
int  cs_next(struct mp *m, struct cs *out) MUST_CHECK;                                  /* splits; verifies nothing yet */
/* Verifies one change set: header decoded and its signature checked with its device's key, root computed from the items.
 * Entries are then read with cs_items and cs_item_next. */
int  cs_verify(const struct cs *cs, struct header *h) MUST_CHECK;
struct mp cs_items(const struct cs *cs);
struct cs_item { bool pruned; uint32_t index, count; struct id hash; struct bytes ent; };
void cs_item_next(struct mp *m, uint32_t *index, struct cs_item *it);   /* *index: running leaf index, start at 0 */
/* Writing: cs_put_head, then exactly nitems of the other two. */
void cs_put_head(struct buf *b, const struct bytes *hdr, const uint8_t sig[static SIG_LEN], uint32_t nitems);
void cs_put_entry(struct buf *b, const struct bytes *ent);
void cs_put_pruned(struct buf *b, uint32_t first, uint32_t count, const struct id *hash);

/* ---- body of LIVE: array of [hdr, sig, index, ent, [proof hash...]] ---- */
struct live_item { struct bytes hdr; const uint8_t *sig; uint32_t index; struct bytes ent; uint32_t nproof; struct id proof[MERKLE_PROOF_MAX]; };
void live_put(struct buf *b, const struct live_item *it);
int  live_next(struct mp *m, struct live_item *out) MUST_CHECK;
int  live_verify(const struct live_item *it, struct header *h) MUST_CHECK;  /* signature and proof */

#endif
