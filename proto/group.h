/* group: who belongs to a group and as what: a pure function of the genesis and the control log.
 *
 *   group_init(&g, genesis blob); group_apply(&g, record 1); group_apply(&g, record 2); ...
 * Members are never removed from the list (their entries stay verifiable); revoked ones are marked.
 *
 * Rules. Records are signed by an owner or admin. Nobody gives a role above his own (owner > admin > member > reader). An admin may
 * not revoke or change an owner, and the group never stays without one. ADD takes a device that is not a member; a revoked one
 * may be added again, with a new card. No two members, revoked ones included, share a transport key or a shown name: a name that is
 * taken gets "-2", "-3"... appended (the card's signed bytes keep the original). Operations of a record apply in order, all or none.
 * NAME gives a member another shown name, by the rules of who may change whom, and of names.
 * RECOVERY, by an owner, names a key whose signature counts like an owner's, or none; it takes the place of the one before. It is no
 * device: it stands for the owner whose machine is gone, and outranks all.
 * REQUIRE names a version that devices are to reach, CANCEL ends that: the latest LIMIT_REQUIRED are held.
 * REVOKE of a device that may write, and ROLE that ends that, cut its streams: what the record names counts up to there, and of its other
 * streams nothing. A cut stays for good: a device that may write again does so in streams that it begins after that.
 * EPOCH renews the key of the epoch after a REVOKE (node/epoch.h): its number is greater than the one before, by at most LIMIT_EPOCH_STEP;
 * the first is 1.
 * POLICY sets keys of a map, or takes them away (proto/policy.h): at most LIMIT_POLICIES, of LIMIT_POLICY_BYTES.
 * DORMANT and RELAY are accepted from an owner or admin and leave no state here. */
#ifndef PROTO_GROUP_H
#define PROTO_GROUP_H

#include <stdbool.h>

#include "proto/record.h"

/* card.name is the shown name. Pointers to members are valid until the next group_apply. since: the record that let it write again, 0: none has. */
struct member { struct card card; enum role role; bool revoked; struct id revoked_by; uint64_t added_ms; uint64_t added_n; uint64_t since; };
struct group_cut { struct id dev; struct cut cut; };

/* A version that is required: every device of `to`, all if there is none in it, is to have what `min` names. It does not change. */
struct required {
    uint8_t id[16];
    uint64_t n, ts_ms;       /* of its record */
    struct id by;
    enum require_mode mode;
    uint64_t until_ms;       /* 0: no end */
    char message[LIMIT_TEXT + 1];
    struct cut *min; size_t nmin;       /* by sid */
    struct id *to; size_t nto;          /* by id */
    unsigned refs;           /* groups that hold it */
};
struct requirement { struct required *what; uint64_t cancelled_ms; struct id cancelled_by; };      /* 0: not cancelled */

struct group {
    struct id id;
    struct member *member; size_t nmember;
    struct group_cut *cut; size_t ncut;     /* by device and stream, none twice */
    uint64_t ctl_n;          /* last record applied; 0 = only the genesis */
    uint64_t admin_bytes;    /* of the records so far that no owner has signed */
    uint64_t epoch, epoch_n; /* of the last EPOCH, and its record; 1 and 0: there was none */
    uint64_t revoked_n; struct id revoker;       /* the last record with a REVOKE, 0: none; who signed it */
    struct requirement requirement[LIMIT_REQUIRED]; size_t nrequirement;      /* the latest, by number */
    struct policies *policies;        /* group_policy.c; NULL: none */
    struct id recovery;      /* the key that stands for an owner; none: there is none */
    struct id ctl_hash;      /* its hash; the group id when ctl_n = 0 */
};
int  group_init(struct group *g, const void *genesis, size_t len) MUST_CHECK;
void group_release(struct group *g);
/* Applies record ctl_n + 1. ERR_AGAIN when it comes later than that, ERR_EXISTS when it is the last one or its number is even
 * earlier, ERR_BAD when it does not continue the chain (or contradicts the last one) or breaks a rule for everybody, ERR_DENIED when
 * its signer may not do that, ERR_FULL beyond LIMIT_MEMBERS. On failure g is unchanged. */
int  group_apply(struct group *g, const struct ctl *c) MUST_CHECK;
void group_copy(struct group *to, const struct group *from);    /* to: released, or new */

/* ---- two chains (group_split.c) ----
 * Two that may sign at the same moment, and do not hear of each other, make two records with one number: the chain splits. All that see both
 * take the same: the one that weighs more. A chain weighs, from where it leaves the other one, what its weightiest record weighs. Of two
 * records the one weighs more
 *   whose signer has the higher role, just before it; the recovery key has the highest;
 *   that revokes or demotes another device of the signer's own role, if only one does;
 *   whose signer has been a member for longer; whose signer's id is smaller.
 * When that is equal (one device has signed in both): the chain whose first record has the smaller hash.
 * So whoever was revoked cannot undo it with the old key, at whichever place he signs a rival, unless he outranks the one who revoked
 * him: no record of his weighs as much as the revocation. It is an order of all chains: which one wins does not
 * depend on who meets whom first; and as a chain grows it never weighs less. */
struct ctl_weight { bool any; unsigned role; bool disarms; uint64_t since; struct id dev, first; };
/* Adds a record, whether it is valid or not, to the weight of a chain (new: zero). g: as it is before the record. */
void group_weigh(struct ctl_weight *w, const struct group *g, const struct ctl *c);
int  group_weight_cmp(const struct ctl_weight *a, const struct ctl_weight *b);   /* > 0: a weighs more; nothing at all weighs least */
/* What an operation of a record that lost would be in the winning chain. */
enum op_now { OP_IS_SO, OP_IS_OPEN, OP_IS_OVER };   /* nothing to do; to be signed again; not to be: what it is about is gone */
enum op_now group_op_now(const struct group *g, const struct ctl_op *op);

const struct member *group_find(const struct group *g, const struct id *dev);           /* also revoked ones */
const struct member *group_by_transport(const struct group *g, const uint8_t tr_pk[static 32]);
/* By shown name, or by 4 or more leading hex digits of the device id. NULL also when that fits two members: one who names himself
 * like the beginning of another's id gains nothing. A whole id always means that device. */
const struct member *group_by_name(const struct group *g, const char *name);
size_t group_named(const struct group *g, const char *name, const struct member **one);      /* how many it fits; *one is one of them */
/* An owner without whom there would be none: nobody can revoke him or change his role. */
bool group_is_last_owner(const struct group *g, const struct member *m);
bool group_by_recovery(const struct group *g, const struct id *signer);     /* it is the recovery key */
/* Up to which number the stream counts, as far as the control log says: UINT64_MAX: without end. began: ctl_n of its first header. */
uint64_t group_end(const struct group *g, const struct id *dev, const struct sid *sid, uint64_t began);
const struct cut *group_cut(const struct group *g, const struct id *dev, const struct sid *sid);    /* NULL: none names it */
bool member_may_write(const struct member *m);                              /* by its role, and not revoked; NULL may nothing */
bool member_may_admin(const struct member *m);
/* ---- required versions (group_require.c) ---- */
/* What a device has to reach: the latest that is for it, also when it is cancelled. Earlier ones have lost their meaning for it.
 * NULL: none. */
const struct requirement *group_required_of(const struct group *g, const struct id *dev);
const struct requirement *group_requirement(const struct group *g, const uint8_t id[static 16]);   /* NULL: unknown, or long past */
bool required_is_for(const struct required *q, const struct id *dev);
bool required_is_over(const struct requirement *q, uint64_t now_ms);      /* cancelled, or its time is up */
/* The latest of all, whoever it is for, decides which of concurrent versions wins: whether it covers this one. To be cancelled, or over,
 * does not change that: what everybody agreed on while it was in force stays. */
bool group_requires(const struct group *g, const struct dot *d);

/* ---- policies (group_policy.c); what they mean: proto/policy.h ---- */
struct mp group_policies(const struct group *g, uint32_t *n);      /* n pairs of a str and an object, by key; borrowed until the next group_apply */
bool group_policy(const struct group *g, const struct bytes *key, struct bytes *value);     /* the object; false: not set */
struct id group_policies_id(const struct group *g);                /* another one when they are others */

bool role_may_admin(enum role r);
bool role_may_write(enum role r);

#endif
