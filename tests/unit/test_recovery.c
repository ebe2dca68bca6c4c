/* The recovery key: an owner's signature when the owner's machine is gone. */
#include "proto/group.h"
#include "proto/phrase.h"
#include "tests/unit/t.h"

enum { OWNER, ADMIN, OTHER, KEY, NEXT, KEYS };     /* KEY and NEXT are recovery keys */

static const uint8_t sealed[SEALED_KEYS];

struct world { struct device_keys *k[KEYS]; struct group g; struct buf record; struct ctl ctl; };

static void card_of(const struct world *w, unsigned i, struct buf *out)
{
    struct card c = { .dev = w->k[i]->dev, .created_ms = 1 };
    memcpy(c.tr_pk, w->k[i]->tr_pk, 32);
    snprintf(c.name, sizeof c.name, "d%u", i);
    OK(card_encode(out, &c, w->k[i]));
}
static int apply(struct world *w, unsigned signer, const struct ctl_op *op, size_t n)
{
    struct ctl c = { .group = w->g.id, .prev = w->g.ctl_hash, .n = w->g.ctl_n + 1, .ts_ms = 1, .signer = w->k[signer]->dev };
    buf_clear(&w->record);
    OK(ctl_encode(&w->record, &c, op, n, w->k[signer]));
    OK(ctl_decode(w->record.data, w->record.len, &w->ctl));
    return group_apply(&w->g, &w->ctl);
}
static int add(struct world *w, unsigned signer, unsigned who, enum role role)
{
    AUTO(buf_release) struct buf card = BUF_INIT(4096);
    card_of(w, who, &card);
    struct ctl_op op = { .type = OP_ADD, .card = { card.data, card.len }, .role = role, .sealed = { sealed, sizeof sealed } };
    return apply(w, signer, &op, 1);
}
static struct ctl_op recovery(const struct world *w, unsigned key)
{
    return (struct ctl_op){ .type = OP_RECOVERY, .recovery = key < KEYS ? w->k[key]->dev : ID_NONE };
}
static int name_key(struct world *w, unsigned signer, unsigned key)
{
    struct ctl_op op = recovery(w, key);
    return apply(w, signer, &op, 1);
}
static struct ctl_op on(const struct world *w, enum ctl_op_type type, unsigned who, enum role role)
{
    return (struct ctl_op){ .type = type, .dev = w->k[who]->dev, .role = role };
}
static void world_release(struct world *w)
{
    for (unsigned i = 0; i < KEYS; i++)
        device_keys_free(&w->k[i]);
    buf_release(&w->record);
    group_release(&w->g);
}
/* An owner, an admin and a member; the owner has named KEY. */
static void world_init(struct world *w)
{
    *w = (struct world){ .record = BUF_INIT(LIMIT_CTL_BYTES) };
    for (unsigned i = 0; i < KEYS; i++)
        w->k[i] = device_keys_new();
    AUTO(buf_release) struct buf card = BUF_INIT(4096), genesis = BUF_INIT(8192);
    card_of(w, OWNER, &card);
    OK(genesis_encode(&genesis, &(struct bytes){ card.data, card.len }, 1, w->k[OWNER]));
    OK(group_init(&w->g, genesis.data, genesis.len));
    OK(add(w, OWNER, ADMIN, ROLE_ADMIN));
    OK(add(w, OWNER, OTHER, ROLE_MEMBER));
    OK(name_key(w, OWNER, KEY));
}

static void test_who_names_it(void)
{
    AUTO(world_release) struct world w;
    world_init(&w);
    FAILS(name_key(&w, ADMIN, NEXT), ERR_DENIED, "no owner");
    FAILS(name_key(&w, OTHER, NEXT), ERR_DENIED, "neither");
    FAILS(name_key(&w, NEXT, NEXT), ERR_DENIED, "neither");
    FAILS(name_key(&w, OWNER, ADMIN), ERR_BAD, "that of a device");
    FAILS(add(&w, OWNER, KEY, ROLE_MEMBER), ERR_BAD, "recovery key");
    CHECK(id_eq(&w.g.recovery, &w.k[KEY]->dev));
    OK(name_key(&w, OWNER, NEXT));
    FAILS(name_key(&w, KEY, KEY), ERR_DENIED, "neither");         /* the one before is nothing any more */
    OK(name_key(&w, OWNER, KEYS));                                /* none */
    FAILS(name_key(&w, NEXT, NEXT), ERR_DENIED, "neither");
    CHECK(id_is_none(&w.g.recovery) && !group_by_recovery(&w.g, &w.g.recovery));
}

/* As it is meant: another device becomes owner, the lost one is revoked, and there is a new key. */
static void test_recovers(void)
{
    AUTO(world_release) struct world w;
    world_init(&w);
    struct ctl_op wrong[] = { on(&w, OP_REVOKE, OWNER, 0), on(&w, OP_ROLE, OTHER, ROLE_OWNER) };
    FAILS(apply(&w, KEY, wrong, 2), ERR_BAD, "only owner");
    struct ctl_op early[] = { recovery(&w, NEXT), on(&w, OP_ROLE, OTHER, ROLE_OWNER) };
    FAILS(apply(&w, KEY, early, 2), ERR_DENIED, "neither");
    CHECK(id_eq(&w.g.recovery, &w.k[KEY]->dev));                  /* all or nothing */
    struct ctl_op ops[] = { on(&w, OP_ROLE, OTHER, ROLE_OWNER), on(&w, OP_REVOKE, OWNER, 0), recovery(&w, NEXT) };
    OK(apply(&w, KEY, ops, 3));
    CHECK(group_find(&w.g, &w.k[OTHER]->dev)->role == ROLE_OWNER && group_find(&w.g, &w.k[OWNER]->dev)->revoked);
    CHECK(id_eq(&w.g.recovery, &w.k[NEXT]->dev));
    FAILS(name_key(&w, OWNER, KEY), ERR_DENIED, "neither");
}

/* Whoever has the stolen machine of an owner cannot undo it, from wherever he signs. */
static void test_outranks_owners(void)
{
    AUTO(world_release) struct world w;
    world_init(&w);
    struct group before = { 0 };
    group_copy(&before, &w.g);
    struct ctl_op ops[] = { on(&w, OP_ROLE, OTHER, ROLE_OWNER), on(&w, OP_REVOKE, OWNER, 0) };
    struct ctl_op thief[] = { recovery(&w, NEXT), on(&w, OP_REVOKE, ADMIN, 0), on(&w, OP_REVOKE, OTHER, 0) };
    struct ctl_weight a = { 0 }, b = { 0 };
    OK(apply(&w, KEY, ops, 2));
    group_weigh(&a, &before, &w.ctl);
    group_release(&w.g);
    group_copy(&w.g, &before);
    OK(apply(&w, OWNER, thief, 3));
    group_weigh(&b, &before, &w.ctl);
    CHECK(group_weight_cmp(&a, &b) > 0 && group_weight_cmp(&b, &a) < 0);
    struct ctl_op own = recovery(&w, NEXT), gone = recovery(&w, KEY);
    CHECK(group_op_now(&w.g, &own) == OP_IS_SO && group_op_now(&w.g, &gone) == OP_IS_OVER);
    group_release(&before);
}

/* ---- the phrase ---- */

static void test_phrase(void)
{
    char phrase[PHRASE_TEXT], other[PHRASE_TEXT], typed[80];
    phrase_generate(phrase);
    phrase_generate(other);
    CHECK(strcmp(phrase, other) != 0);
    EQ_U(strlen(phrase), PHRASE_TEXT - 1);
    for (size_t i = 0; i < PHRASE_TEXT - 1; i++)
        CHECK((phrase[i] == '-') == (i % 6 == 5));
    OK(phrase_normalise(phrase, other));
    EQ_S(other, phrase);
    snprintf(typed, sizeof typed, " %s ", phrase);
    for (char *p = typed; *p; p++)
        *p = (char)(*p == '-' ? ' ' : *p == '0' ? 'o' : *p == '1' ? 'l' : *p >= 'A' ? *p + 32 : *p);
    OK(phrase_normalise(typed, other));
    EQ_S(other, phrase);
    for (size_t i = 0; i < PHRASE_TEXT - 1; i++) {       /* every wrong symbol is found, and the text does not tell it */
        snprintf(typed, sizeof typed, "%s", phrase);
        typed[i] = typed[i] == '7' ? '8' : typed[i] == '-' ? '-' : '7';
        if (strcmp(typed, phrase) == 0)
            continue;
        FAILS(phrase_normalise(typed, other), ERR_DENIED, "the phrase is mistyped");
        CHECK(!strstr(err_text(), typed));
    }
    FAILS(phrase_normalise("ABCDE", other), ERR_USAGE, "too short");
    snprintf(typed, sizeof typed, "%s7", phrase);
    FAILS(phrase_normalise(typed, other), ERR_USAGE, "too long");
}

/* Phrases lie in drawers for years: they must mean the same key for ever. */
static void test_phrase_keys(void)
{
    char phrase[PHRASE_TEXT];
    struct device_keys *a = device_keys_empty(), *b = device_keys_empty();
    OK(phrase_normalise("00000-00000-00000-00000-00000-0", phrase));
    OK(phrase_keys(phrase, a));
    OK(phrase_keys(phrase, b));
    CHECK(id_eq(&a->dev, &b->dev) && memcmp(a->sign_sk, b->sign_sk, 64) == 0);
    char hex[ID_HEX];
    EQ_S(id_hex(&a->dev, hex), "aee236f6d5947292076ff6c8c19ea2a85681d260ceb758000975e5579d17c851");
    uint8_t sig[SIG_LEN];
    keys_sign(sig, "lanyard-ctl-1", "x", 1, a);
    OK(keys_verify(sig, "lanyard-ctl-1", "x", 1, &a->dev));
    phrase_generate(phrase);
    OK(phrase_keys(phrase, b));
    CHECK(!id_eq(&a->dev, &b->dev));
    device_keys_free(&a);
    device_keys_free(&b);
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    RUN(test_who_names_it);
    RUN(test_recovers);
    RUN(test_outranks_owners);
    RUN(test_phrase);
    RUN(test_phrase_keys);
    return t_done();
}
