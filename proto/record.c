#include "proto/record.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "proto/field.h"
#include "proto/record_sign.h"

#define CARD_CONTEXT    "lanyard-card-1"
#define GENESIS_CONTEXT "lanyard-gen-1"
#define ADDR_CONTEXT    "lanyard-addr-1"
#define RECORD_SMALL    1024u   /* more than any card, genesis or address card */

/* ---- signed blobs ---- */

void signed_put(struct buf *out, const char *context, const void *rec, size_t len, const struct device_keys *k)
{
    uint8_t sig[SIG_LEN];
    keys_sign(sig, context, rec, len, k);
    mp_put_array(out, 2);
    mp_put_bin(out, rec, len);
    mp_put_bin(out, sig, sizeof sig);
}

int record_split(const char *what, const void *blob, size_t len, struct bytes *rec, const uint8_t **sig)
{
    struct field f;
    field_open(&f, what, blob, len, LIMIT_BODY, 2);
    *rec = field_bin(&f, "record", 1, LIMIT_BODY);
    *sig = field_bin(&f, "signature", SIG_LEN, SIG_LEN).p;
    return field_done(&f);
}

int signed_split(const void *blob, size_t len, struct bytes *rec, const uint8_t **sig)
{
    return record_split("signed blob", blob, len, rec, sig);
}

int record_sign(struct buf *out, const char *what, const char *context, const struct buf *rec, int code,
                const struct device_keys *k)
{
    if (!buf_ok(rec))
        return err_set(ERR_FULL, "%s: longer than %zu bytes", what, rec->max);
    if (code < 0)
        return code;
    size_t before = out->len;
    signed_put(out, context, rec->data, rec->len, k);
    if (buf_ok(out))
        return 0;
    out->len = before;
    return err_set(ERR_FULL, "%s: no room for %zu bytes", what, rec->len);
}

int record_verify(const char *what, const char *context, const struct bytes *rec, const uint8_t *sig, const struct id *dev)
{
    int code = keys_verify(sig, context, rec->p, rec->len, dev);
    return code < 0 ? err_prefix(code, "%s: signature", what) : 0;
}

/* ---- cards ---- */

static const char *name_fault(const void *name, size_t len)
{
    if (len < 1 || len > LIMIT_DEVICE_NAME)
        return "must have 1 to 64 bytes";
    if (memchr(name, '/', len))
        return "must not contain '/'";
    return text_ok(name, len) ? NULL : "must be UTF-8 without control characters";
}

int device_name_check(const char *name)
{
    const char *fault = name_fault(name, strlen(name));
    return fault ? err_set(ERR_BAD, "device name %s", fault) : 0;
}

/* Keys of small order: a box sealed to one would be readable by everybody, and libsodium refuses to make it. */
static bool weak_key(const uint8_t pk[static 32])
{
    static const uint8_t scalar[32] = { 8 };
    uint8_t shared[32];
    return crypto_scalarmult_curve25519(shared, scalar, pk) != 0;
}

static int card_read(const void *rec, size_t len, struct card *c)
{
    struct field f;
    *c = (struct card){ 0 };
    field_open(&f, "card", rec, len, RECORD_SMALL, 6);
    field_format(&f, 1);
    field_id(&f, "dev_pk", &c->dev);
    field_fixed(&f, "tr_pk", c->tr_pk, sizeof c->tr_pk);
    field_rule(&f, f.code || !weak_key(c->tr_pk), "tr_pk", "a weak key");
    struct bytes name = field_text(&f, "name", 1, LIMIT_DEVICE_NAME);
    if (name.len > 0) {
        const char *fault = name_fault(name.p, name.len);
        field_rule(&f, !fault, "name", fault ? fault : "");
        memcpy(c->name, name.p, name.len);
    }
    c->created_ms = field_u64(&f, "created_ms", 0, RECORD_MS_MAX);
    c->caps = field_u64(&f, "caps", 0, RECORD_CAPS_MAX);
    return field_done(&f);
}

int card_encode(struct buf *out, const struct card *c, const struct device_keys *k)
{
    assert(id_eq(&c->dev, &k->dev));
    AUTO(buf_release) struct buf rec = BUF_INIT(RECORD_SMALL);
    mp_put_array(&rec, 6);
    mp_put_u64(&rec, 1);
    mp_put_bin(&rec, c->dev.b, ID_LEN);
    mp_put_bin(&rec, c->tr_pk, sizeof c->tr_pk);
    mp_put_strn(&rec, c->name, strnlen(c->name, sizeof c->name));
    mp_put_u64(&rec, c->created_ms);
    mp_put_u64(&rec, c->caps);
    struct card again;
    return record_sign(out, "card", CARD_CONTEXT, &rec, card_read(rec.data, rec.len, &again), k);
}

int card_decode(const void *blob, size_t len, struct card *out)
{
    struct bytes rec;
    const uint8_t *sig;
    int code = record_split("card", blob, len, &rec, &sig);
    if (code == 0)
        code = card_read(rec.p, rec.len, out);
    return code < 0 ? code : record_verify("card", CARD_CONTEXT, &rec, sig, &out->dev);
}

/* ---- genesis ---- */

static int genesis_read(const void *rec, size_t len, struct genesis *g)
{
    struct field f;
    uint8_t random[32];
    *g = (struct genesis){ 0 };
    field_open(&f, "genesis", rec, len, RECORD_SMALL, 4);
    field_format(&f, 1);
    struct bytes card = field_bin(&f, "owner card", 1, RECORD_SMALL);
    field_fixed(&f, "random", random, sizeof random);
    g->created_ms = field_u64(&f, "created_ms", 0, RECORD_MS_MAX);
    int code = field_done(&f);
    if (code < 0)
        return code;
    g->group = id_hash(rec, len);
    code = card_decode(card.p, card.len, &g->owner);
    return code < 0 ? err_prefix(code, "genesis: owner") : 0;
}

int genesis_encode(struct buf *out, const struct bytes *owner_card, uint64_t created_ms, const struct device_keys *k)
{
    AUTO(buf_release) struct buf rec = BUF_INIT(RECORD_SMALL);
    uint8_t random[32];
    randombytes_buf(random, sizeof random);
    mp_put_array(&rec, 4);
    mp_put_u64(&rec, 1);
    mp_put_bin(&rec, owner_card->p, owner_card->len);
    mp_put_bin(&rec, random, sizeof random);
    mp_put_u64(&rec, created_ms);
    struct genesis again;
    int code = genesis_read(rec.data, rec.len, &again);
    assert(code < 0 || id_eq(&again.owner.dev, &k->dev));
    return record_sign(out, "genesis", GENESIS_CONTEXT, &rec, code, k);
}

int genesis_decode(const void *blob, size_t len, struct genesis *out)
{
    struct bytes rec;
    const uint8_t *sig;
    int code = record_split("genesis", blob, len, &rec, &sig);
    if (code == 0)
        code = genesis_read(rec.p, rec.len, out);
    return code < 0 ? code : record_verify("genesis", GENESIS_CONTEXT, &rec, sig, &out->owner.dev);
}

/* ---- address cards ---- */

static bool all_of(const char *s, size_t len, const char *others)
{
    for (size_t i = 0; i < len; i++) {
        bool alnum = (s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z');
        if (!alnum && (s[i] == 0 || !strchr(others, s[i])))
            return false;
    }
    return len > 0;
}

static bool port_ok(const char *s, size_t len)
{
    uint32_t port = 0;
    if (len < 1 || len > 5 || s[0] == '0')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        port = port * 10 + (uint32_t)(s[i] - '0');
    }
    return port <= 65535;
}

/* What is wrong with an address, or NULL. The text goes into an endpoint of the transport: nothing may pass that could change
 * its meaning there (a wildcard, a second endpoint, an interface). */
static const char *addr_fault(const void *addr, size_t len)
{
    const char *s = addr;
    if (len < 3 || len > sizeof ((struct addr_card *)0)->addr[0] - 1)
        return "not HOST:PORT of at most 63 bytes";
    size_t host = len;
    while (host > 0 && s[host - 1] != ':')
        host--;
    if (host < 2 || !port_ok(s + host, len - host))
        return "no port of 1..65535 behind a ':'";
    host--;
    bool v6 = s[0] == '[' && s[host - 1] == ']';
    if (v6 ? host < 4 || !all_of(s + 1, host - 2, ":.") : !all_of(s, host, ".-_"))
        return "not a host name or address";
    return NULL;
}

int addr_check(const void *s, size_t len)
{
    const char *fault = addr_fault(s, len);
    return fault ? err_set(ERR_BAD, "address %.*s: %s", (int)(len > 80 ? 80 : len), (const char *)s, fault) : 0;
}

static void addr_read(struct field *f, struct addr_card *a, uint32_t i)
{
    struct bytes s = field_text(f, "addr", 1, sizeof a->addr[0] - 1);
    if (s.len == 0)
        return;
    const char *fault = addr_fault(s.p, s.len);
    field_rule(f, !fault, "addr", fault ? fault : "");
    memcpy(a->addr[i], s.p, s.len);
    for (uint32_t j = 0; j < i; j++)
        field_rule(f, strcmp(a->addr[i], a->addr[j]) != 0, "addr", "listed twice");
}

static int addr_card_read(const void *rec, size_t len, struct addr_card *a)
{
    struct field f;
    *a = (struct addr_card){ 0 };
    field_open(&f, "address card", rec, len, RECORD_SMALL, 5);
    field_format(&f, 1);
    field_id(&f, "group_id", &a->group);
    field_id(&f, "dev", &a->dev);
    a->wall_ms = field_u64(&f, "wall_ms", 0, RECORD_MS_MAX);
    a->naddr = field_list(&f, "addr", 1, LIMIT_ADDRS);
    for (uint32_t i = 0; i < a->naddr; i++)
        addr_read(&f, a, i);
    return field_done(&f);
}

int addr_card_encode(struct buf *out, const struct addr_card *a, const struct device_keys *k)
{
    assert(id_eq(&a->dev, &k->dev) && a->naddr <= LIMIT_ADDRS);
    AUTO(buf_release) struct buf rec = BUF_INIT(RECORD_SMALL);
    mp_put_array(&rec, 5);
    mp_put_u64(&rec, 1);
    mp_put_bin(&rec, a->group.b, ID_LEN);
    mp_put_bin(&rec, a->dev.b, ID_LEN);
    mp_put_u64(&rec, a->wall_ms);
    mp_put_array(&rec, a->naddr);
    for (uint32_t i = 0; i < a->naddr; i++)
        mp_put_strn(&rec, a->addr[i], strnlen(a->addr[i], sizeof a->addr[i]));
    struct addr_card again;
    return record_sign(out, "address card", ADDR_CONTEXT, &rec, addr_card_read(rec.data, rec.len, &again), k);
}

int addr_card_decode(const void *blob, size_t len, struct addr_card *out)
{
    struct bytes rec;
    const uint8_t *sig;
    int code = record_split("address card", blob, len, &rec, &sig);
    if (code == 0)
        code = addr_card_read(rec.p, rec.len, out);
    return code < 0 ? code : record_verify("address card", ADDR_CONTEXT, &rec, sig, &out->dev);
}
