/* Address cards: which are taken, which are used, which are told to whom. */
#include "node/address.h"
#include "node/pex.h"
#include "proto/msg.h"
#include "tests/unit/t_node.h"
#include "tests/unit/temp_dir.h"

enum { NOW = 1000000, WALL = 1700000000 };
#define AHEAD (10 * 60 * 1000)

static struct t_group g;
static struct pex *pex;
static struct { unsigned calls; struct id dev; uint32_t n; char addr[LIMIT_ADDRS][64]; } hinted;
static unsigned kept;
static struct buf card_kept = BUF_INIT(4096);

static void on_hint(void *arg, const struct id *dev, uint32_t n, char (*addr)[64])
{
    (void)arg;
    hinted.calls++;
    hinted.dev = *dev;
    hinted.n = n;
    if (n)
        memcpy(hinted.addr, addr, n * sizeof *addr);
}
static void on_keep(void *arg, const struct id *dev, const void *blob, size_t len)
{
    (void)arg, (void)dev;
    kept++;
    buf_clear(&card_kept);
    buf_add(&card_kept, blob, len);
}

static void end(void)
{
    pex_free(&pex);
    if (g.keys)
        t_group_release(&g);
    g = (struct t_group){ 0 };
    memset(&hinted, 0, sizeof hinted);
    kept = 0;
}
/* Device 0, in a group of three, that listens there. */
static void begin_at(const char *listen)
{
    end();
    t_group_init(&g, 3);
    struct pex_config c = { .keys = g.dev[0], .group = &g.group, .listen = listen, .ops = { .hint = on_hint, .keep = on_keep } };
    pex_new(&c, &pex);
}
static void begin(void)
{
    begin_at("127.0.0.1:7001");
    pex_tick(pex, NOW, WALL);
}

/* A body with one card. */
static void one(struct buf *body, const struct device_keys *k, const struct id *group, uint64_t wall_ms, const char *addr)
{
    struct addr_card c = { .group = *group, .dev = k->dev, .wall_ms = wall_ms, .naddr = 1 };
    snprintf(c.addr[0], sizeof c.addr[0], "%s", addr);
    AUTO(buf_release) struct buf blob = BUF_INIT(4096);
    t_must(addr_card_encode(&blob, &c, k));
    buf_clear(body);
    mp_put_array(body, 1);
    buf_add(body, blob.data, blob.len);
}
static int told(size_t dev, uint64_t wall_ms, const char *addr)
{
    AUTO(buf_release) struct buf body = BUF_INIT(4096);
    one(&body, g.dev[dev], &g.group.id, wall_ms, addr);
    return pex_take(pex, &g.dev[1]->dev, body.data, body.len, PEX_CARDS, WALL);
}
static int given(const struct buf *body) { return pex_take(pex, &g.dev[1]->dev, body->data, body->len, PEX_CARDS, WALL); }
/* The cards of a body; fails unless all are genuine. */
static uint32_t cards_of(const struct buf *body, struct addr_card *out, uint32_t max)
{
    struct mp m;
    uint32_t n;
    t_must(body_open(body->data, body->len, &m, &n));
    CHECK(n <= max);
    for (uint32_t i = 0; i < n; i++) {
        struct bytes blob = mp_skip(&m);
        t_must(addr_card_decode(blob.p, blob.len, &out[i]));
    }
    t_must(mp_done(&m, "cards"));
    return n;
}
static uint32_t all(struct addr_card out[4])
{
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
    pex_all(pex, &body);
    return cards_of(&body, out, 4);
}
static void own_card(struct addr_card *out)
{
    struct addr_card c[4];
    uint32_t n = all(c);
    for (uint32_t i = 0; i < n; i++)
        if (id_eq(&c[i].dev, &g.dev[0]->dev)) {
            *out = c[i];
            return;
        }
    T_FAIL("no card of our own");
}

static void test_own_card(void)
{
    struct addr_card c[4];
    begin_at("127.0.0.1:7001");
    EQ_U(all(c), 0);
    pex_tick(pex, NOW, WALL);
    EQ_U(all(c), 1);
    CHECK(id_eq(&c[0].dev, &g.dev[0]->dev) && id_eq(&c[0].group, &g.group.id));
    EQ_U(c[0].wall_ms, WALL);
    EQ_U(c[0].naddr, 1);
    EQ_S(c[0].addr[0], "127.0.0.1:7001");
    EQ_U(hinted.calls + kept, 0);
    /* The same addresses are no news. */
    pex_tick(pex, NOW + 60000, WALL + 60000);
    EQ_U(all(c), 1);
    EQ_U(c[0].wall_ms, WALL);
    EQ_U(pex_last(pex), 1);
}

static void test_no_wildcard_is_told(void)
{
    static const char *const listen[] = { "0.0.0.0:7001", "[::]:7001", "*:7001" };
    for (size_t i = 0; i < 3; i++) {
        begin_at(listen[i]);
        pex_tick(pex, NOW, WALL);
        struct addr_card c;
        own_card(&c);
        for (uint32_t k = 0; k < c.naddr; k++)
            CHECK(address_kind(c.addr[k]) != ADDRESS_USELESS && strstr(c.addr[k], ":7001"));
    }
    struct addr_card none[4];
    begin_at("169.254.1.1:7001");
    pex_tick(pex, NOW, WALL);
    EQ_U(all(none), 0);
}

static void test_newer_replaces_older(void)
{
    begin();
    EQ_I(told(1, WALL, "127.0.0.1:1"), 1);
    EQ_U(hinted.calls, 0);
    pex_tick(pex, NOW, WALL);
    EQ_U(hinted.calls, 1);
    CHECK(id_eq(&hinted.dev, &g.dev[1]->dev));
    EQ_U(hinted.n, 1);
    EQ_S(hinted.addr[0], "127.0.0.1:1");
    EQ_U(kept, 1);
    /* The same again, an older one, and another of the same time. */
    EQ_I(told(1, WALL, "127.0.0.1:1"), 1);
    EQ_I(told(1, WALL - 1, "127.0.0.1:2"), 1);
    EQ_I(told(1, WALL, "127.0.0.1:3"), 1);
    pex_tick(pex, NOW + PEX_GAP_MS, WALL);
    EQ_U(hinted.calls, 1);
    EQ_I(told(1, WALL + 1, "127.0.0.1:4"), 1);
    pex_tick(pex, NOW + PEX_GAP_MS, WALL);
    EQ_U(hinted.calls, 2);
    EQ_S(hinted.addr[0], "127.0.0.1:4");
    EQ_U(kept, 2);
}

static void test_one_in_a_while(void)
{
    begin();
    EQ_I(told(1, WALL, "127.0.0.1:1"), 1);
    pex_tick(pex, NOW, WALL);
    for (unsigned i = 1; i <= 100; i++) {
        char addr[32];
        snprintf(addr, sizeof addr, "127.0.0.1:%u", 1 + i);
        EQ_I(told(1, WALL + i, addr), 1);
        pex_tick(pex, NOW + i * (PEX_GAP_MS - 1) / 100, WALL);
    }
    EQ_U(hinted.calls, 1);
    EQ_U(kept, 1);
    /* Others do not have to wait for it. */
    EQ_I(told(2, WALL, "127.0.0.1:9"), 1);
    pex_tick(pex, NOW + PEX_GAP_MS - 1, WALL);
    EQ_U(hinted.calls, 2);
    pex_tick(pex, NOW + PEX_GAP_MS, WALL);
    EQ_U(hinted.calls, 3);
    EQ_S(hinted.addr[0], "127.0.0.1:101");
}

static void test_forged(void)
{
    begin();
    AUTO(buf_release) struct buf body = BUF_INIT(4096);
    one(&body, g.dev[2], &g.group.id, WALL, "127.0.0.1:1");
    for (size_t i = 0; i < body.len; i++) {
        body.data[i] ^= 1;
        int r = given(&body);
        if (r != ERR_BAD && r != ERR_DENIED && r != 0)
            T_FAIL("byte %zu changed: %d", i, r);
        body.data[i] ^= 1;
    }
    pex_tick(pex, NOW, WALL);
    EQ_U(hinted.calls, 0);
    EQ_I(given(&body), 1);
    pex_tick(pex, NOW, WALL);
    EQ_U(hinted.calls, 1);
}

static void test_not_of_this_group(void)
{
    begin();
    AUTO(buf_release) struct buf body = BUF_INIT(4096);
    struct id other = g.group.id;
    other.b[0] ^= 1;
    one(&body, g.dev[1], &other, WALL, "127.0.0.1:1");
    FAILS(given(&body), ERR_DENIED, "another group");
    /* No member; then one; then not any more. What is passed over may be good later. */
    EQ_I(told(3, WALL, "127.0.0.1:1"), 1);
    pex_tick(pex, NOW, WALL);
    EQ_U(hinted.calls, 0);
    t_group_add(&g, 3);
    EQ_I(told(3, WALL, "127.0.0.1:1"), 1);
    pex_tick(pex, NOW, WALL);
    EQ_U(hinted.calls, 1);
    t_group_revoke(&g, 3);
    pex_tick(pex, NOW, WALL);
    EQ_U(hinted.calls, 2);
    CHECK(id_eq(&hinted.dev, &g.dev[3]->dev));
    EQ_U(hinted.n, 0);
    struct addr_card c[4];
    EQ_U(all(c), 1);
    EQ_I(told(3, WALL + 1, "127.0.0.1:1"), 1);
    pex_tick(pex, NOW + PEX_GAP_MS, WALL);
    EQ_U(hinted.calls, 2);
}

static void test_future(void)
{
    begin();
    EQ_I(told(1, WALL + AHEAD + 1, "127.0.0.1:1"), 1);
    pex_tick(pex, NOW, WALL);
    EQ_U(hinted.calls, 0);
    EQ_I(told(1, WALL + AHEAD, "127.0.0.1:1"), 1);
    pex_tick(pex, NOW, WALL);
    EQ_U(hinted.calls, 1);
}

static void test_a_stranger_among_members(void)
{
    begin();
    AUTO(buf_release) struct buf a = BUF_INIT(4096), b = BUF_INIT(4096), body = BUF_INIT(8192);
    one(&a, g.dev[3], &g.group.id, WALL, "127.0.0.1:1");
    one(&b, g.dev[2], &g.group.id, WALL, "127.0.0.1:2");
    mp_put_array(&body, 2);
    buf_add(&body, a.data + 1, a.len - 1);
    buf_add(&body, b.data + 1, b.len - 1);
    EQ_I(given(&body), 2);
    pex_tick(pex, NOW, WALL);
    EQ_U(hinted.calls, 1);
    CHECK(id_eq(&hinted.dev, &g.dev[2]->dev));
}

static void test_bodies(void)
{
    begin();
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY), card = BUF_INIT(4096);
    mp_put_array(&body, 0);
    EQ_I(given(&body), 0);
    FAILS(pex_take(pex, &g.dev[1]->dev, "", 0, PEX_CARDS, WALL), ERR_BAD, "");
    FAILS(pex_take(pex, &g.dev[1]->dev, "\x91\xc0", 2, PEX_CARDS, WALL), ERR_BAD, "address card");
    one(&card, g.dev[1], &g.group.id, WALL, "127.0.0.1:1");
    buf_clear(&body);
    mp_put_array(&body, PEX_CARDS + 1);
    for (int i = 0; i <= PEX_CARDS; i++)
        buf_add(&body, card.data + 1, card.len - 1);
    FAILS(given(&body), ERR_BAD, "at most 16");
    pex_tick(pex, NOW, WALL);
    EQ_U(hinted.calls, 0);
}

static void test_what_is_worth_dialling(void)
{
    struct addr_card c = { .wall_ms = WALL, .naddr = 8, .addr = { "0.0.0.0:1", "127.0.0.1:2", "192.0.2.7:3", "[::1]:4", "[2001:db8::7]:5",
                                                                  "evil.example.org:6", "224.0.0.1:7", "[fe80::1]:8" } };
    for (int loopback = 0; loopback < 2; loopback++) {
        begin_at(loopback ? "127.0.0.1:7001" : "192.0.2.1:7001");
        c.group = g.group.id;
        c.dev = g.dev[2]->dev;
        AUTO(buf_release) struct buf blob = BUF_INIT(4096), body = BUF_INIT(4096);
        t_must(addr_card_encode(&blob, &c, g.dev[2]));
        mp_put_array(&body, 1);
        buf_add(&body, blob.data, blob.len);
        EQ_I(given(&body), 1);
        pex_tick(pex, NOW, WALL);
        EQ_U(hinted.calls, 1);
        EQ_U(hinted.n, loopback ? 4 : 2);
        EQ_S(hinted.addr[0], loopback ? "127.0.0.1:2" : "192.0.2.7:3");
        EQ_S(hinted.addr[1], loopback ? "192.0.2.7:3" : "[2001:db8::7]:5");
    }
}

static void test_own_card_from_a_future_past(void)
{
    begin();
    struct addr_card c;
    EQ_I(told(0, WALL + 5000, "127.0.0.1:1"), 1);
    pex_tick(pex, NOW + 60000, WALL + 1000);
    own_card(&c);
    EQ_U(c.wall_ms, WALL + 5001);
    EQ_S(c.addr[0], "127.0.0.1:7001");
    EQ_I(told(0, WALL - 5, "127.0.0.1:1"), 1);
    pex_tick(pex, NOW + 120000, WALL + 1000);
    own_card(&c);
    EQ_U(c.wall_ms, WALL + 5001);
    EQ_U(hinted.calls + kept, 0);
}

static void test_restore(void)
{
    begin();
    EQ_I(told(1, WALL, "127.0.0.1:1"), 1);
    pex_tick(pex, NOW, WALL);
    EQ_U(kept, 1);
    pex_free(&pex);
    struct pex_config c = { .keys = g.dev[0], .group = &g.group, .listen = "127.0.0.1:7001", .ops = { .hint = on_hint, .keep = on_keep } };
    pex_new(&c, &pex);
    pex_restore(pex, card_kept.data, card_kept.len, WALL);
    pex_tick(pex, NOW, WALL);
    EQ_U(hinted.calls, 2);
    EQ_S(hinted.addr[0], "127.0.0.1:1");
    EQ_U(kept, 1);
    pex_free(&pex);
    pex_new(&c, &pex);
    card_kept.data[card_kept.len / 2] ^= 1;
    pex_restore(pex, card_kept.data, card_kept.len, WALL);
    pex_restore(pex, NULL, 0, WALL);
    pex_tick(pex, NOW, WALL);
    EQ_U(hinted.calls, 2);
}

static void test_news(void)
{
    begin();
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
    struct addr_card c[4];
    uint32_t n;
    uint64_t upto = pex_news(pex, &g.dev[1]->dev, 0, &body, &n);
    EQ_U(n, 1);
    EQ_U(cards_of(&body, c, 4), 1);
    EQ_U(upto, pex_last(pex));
    CHECK(id_eq(&c[0].dev, &g.dev[0]->dev));
    /* Not used yet: not passed on. Then: to the third only, neither to its owner nor to who told us. */
    EQ_I(told(2, WALL, "127.0.0.1:1"), 1);
    EQ_U(pex_news(pex, &g.dev[3]->dev, upto, &body, &n), upto);
    EQ_U(n, 0);
    pex_tick(pex, NOW, WALL);
    for (size_t i = 1; i < 4; i++) {
        buf_clear(&body);
        CHECK(pex_news(pex, &g.dev[i]->dev, upto, &body, &n) > upto);
        EQ_U(n, i == 3);
        EQ_U(cards_of(&body, c, 4), i == 3);
    }
    CHECK(id_eq(&c[0].dev, &g.dev[2]->dev));
}

enum { MANY = 40 };
static void test_many_in_turns(void)
{
    begin();
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY), card = BUF_INIT(4096);
    struct device_keys *k[MANY];
    struct device_keys *saved = g.dev[3];
    for (size_t i = 0; i < MANY; i++) {
        k[i] = g.dev[3] = device_keys_new();
        t_group_add(&g, 3);
        one(&card, k[i], &g.group.id, WALL, "127.0.0.1:1");
        EQ_I(given(&card), 1);
    }
    g.dev[3] = saved;
    pex_tick(pex, NOW, WALL);
    EQ_U(hinted.calls, MANY);
    static struct addr_card c[MANY + 1];
    uint32_t n, total = 0;
    for (uint64_t upto = 0; upto < pex_last(pex); total += n) {
        buf_clear(&body);
        upto = pex_news(pex, &g.dev[2]->dev, upto, &body, &n);
        CHECK(n <= PEX_CARDS && n > 0);
        EQ_U(cards_of(&body, c + total, MANY + 1 - total), n);
    }
    EQ_U(total, MANY + 1);
    for (size_t i = 0; i < MANY; i++)
        CHECK(id_eq(&c[i + 1].dev, &k[i]->dev));
    buf_clear(&body);
    pex_all(pex, &body);
    EQ_U(cards_of(&body, c, MANY + 1), MANY + 1);
    for (size_t i = 0; i < MANY; i++)
        device_keys_free(&k[i]);
}

static unsigned lines_with(const char *path, const char *words)
{
    char line[1024];
    unsigned n = 0;
    FILE *f = fopen(path, "r");
    CHECK(f);
    while (fgets(line, sizeof line, f))
        n += strstr(line, words) != NULL;
    fclose(f);
    return n;
}
/* The first test: what is said once a minute has not been said yet. */
static void test_said_once(void)
{
    begin();
    temp_begin();
    const char *path = in_temp("log");
    t_must(log_open(path));
    AUTO(buf_release) struct buf body = BUF_INIT(4096);
    one(&body, g.dev[2], &g.group.id, WALL, "127.0.0.1:1");
    body.data[body.len - 1] ^= 1;
    for (int i = 0; i < 50; i++) {
        CHECK(given(&body) == ERR_DENIED);
        EQ_I(told(3, WALL, "127.0.0.1:1"), 1);
        EQ_I(told(2, WALL - (unsigned)i, "127.0.0.1:1"), 1);
    }
    unsigned refused = lines_with(path, "address cards refused from=d1"), passed = lines_with(path, "no member"), other = lines_with(path, "");
    t_must(log_open("/dev/null"));
    EQ_U(refused, 1);
    EQ_U(passed, 1);
    EQ_U(other, 2);
}

static void test_kinds_of_addresses(void)
{
    static const struct { const char *text; enum address_kind kind; } table[] = {
        { "192.0.2.1:7447", ADDRESS_PLAIN }, { "10.0.0.1:1", ADDRESS_PLAIN }, { "[2001:db8::1]:7447", ADDRESS_PLAIN }, { "[fd00::1]:1", ADDRESS_PLAIN },
        { "127.0.0.1:1", ADDRESS_LOOPBACK }, { "127.9.9.9:1", ADDRESS_LOOPBACK }, { "[::1]:1", ADDRESS_LOOPBACK },
        { "0.0.0.0:1", ADDRESS_USELESS }, { "0.1.2.3:1", ADDRESS_USELESS }, { "[::]:1", ADDRESS_USELESS }, { "*:1", ADDRESS_USELESS },
        { "169.254.1.1:1", ADDRESS_USELESS }, { "[fe80::1]:1", ADDRESS_USELESS }, { "[fe80::1%2]:1", ADDRESS_USELESS },
        { "224.0.0.251:1", ADDRESS_USELESS }, { "255.255.255.255:1", ADDRESS_USELESS }, { "[ff02::fb]:1", ADDRESS_USELESS },
        { "[::ffff:127.0.0.1]:1", ADDRESS_USELESS }, { "[::127.0.0.1]:1", ADDRESS_USELESS }, { "localhost:1", ADDRESS_USELESS }, { "127.1:1", ADDRESS_USELESS },
        { "192.0.2.1", ADDRESS_USELESS }, { "192.0.2.1:0", ADDRESS_USELESS }, { "::1:1", ADDRESS_USELESS }, { "[]:1", ADDRESS_USELESS },
        { "[:1", ADDRESS_USELESS }, { ":1", ADDRESS_USELESS }, { "", ADDRESS_USELESS },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (address_kind(table[i].text) != table[i].kind)
            T_FAIL("%s: %d", table[i].text, address_kind(table[i].text));
}

int main(void)
{
    t_node_init();
    RUN(test_said_once);
    RUN(test_own_card);
    RUN(test_no_wildcard_is_told);
    RUN(test_newer_replaces_older);
    RUN(test_one_in_a_while);
    RUN(test_forged);
    RUN(test_not_of_this_group);
    RUN(test_future);
    RUN(test_a_stranger_among_members);
    RUN(test_bodies);
    RUN(test_what_is_worth_dialling);
    RUN(test_own_card_from_a_future_past);
    RUN(test_restore);
    RUN(test_news);
    RUN(test_many_in_turns);
    RUN(test_kinds_of_addresses);
    end();
    temp_end();
    buf_release(&card_kept);
    return t_done();
}
