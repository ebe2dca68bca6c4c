/* Cards, the genesis, address cards and headers. */
#include "tests/unit/t_record.h"

static struct device_keys *dev;
static struct id group;

static int decode_blob(const struct shape *s, size_t n, const char *context, t_decoder *decode)
{
    AUTO(buf_release) struct buf rec = BUF_INIT(1u << 20), blob = BUF_INIT(1u << 20);
    shape_put(&rec, s, n);
    signed_put(&blob, context, rec.data, rec.len, dev);
    return decode(blob.data, blob.len);
}

/* ---- cards ---- */

static int card_bytes(const void *p, size_t n)
{
    struct card c;
    return card_decode(p, n, &c);
}
static void card_make(struct shape *s)
{
    mp_put_u64(shape_add(s), 1);
    mp_put_bin(shape_add(s), dev->dev.b, ID_LEN);
    mp_put_bin(shape_add(s), dev->tr_pk, 32);
    mp_put_str(shape_add(s), "Küche");
    mp_put_u64(shape_add(s), 1700000000000);
    mp_put_u64(shape_add(s), 3);
}
static int card_shape(const struct shape *s, size_t n)
{
    return decode_blob(s, n, "lanyard-card-1", card_bytes);
}
static const struct subject card = { card_make, card_shape };

static struct card sample_card(const char *name)
{
    struct card c = { .dev = dev->dev, .created_ms = 1700000000000, .caps = 3 };
    memcpy(c.tr_pk, dev->tr_pk, 32);
    snprintf(c.name, sizeof c.name, "%s", name);
    return c;
}

static void test_card_round_trip(void)
{
    uint64_t seed = 1;
    for (int i = 0; i < 100; i++) {
        struct card c = sample_card("x"), d;
        size_t len = 1 + t_num(&seed, LIMIT_DEVICE_NAME - 1);
        for (size_t j = 0; j < len; j++)
            c.name[j] = (char)('a' + t_num(&seed, 25));
        c.name[len] = 0;
        c.created_ms = t_num(&seed, RECORD_MS_MAX);
        c.caps = t_num(&seed, RECORD_CAPS_MAX);
        AUTO(buf_release) struct buf b = BUF_INIT(1000);
        OK(card_encode(&b, &c, dev));
        OK(card_decode(b.data, b.len, &d));
        CHECK(id_eq(&c.dev, &d.dev) && memcmp(c.tr_pk, d.tr_pk, 32) == 0);
        EQ_S(d.name, c.name);
        EQ_U(d.created_ms, c.created_ms);
        EQ_U(d.caps, c.caps);
    }
}

static void test_card_rules(void)
{
    char longest[LIMIT_DEVICE_NAME + 2];
    memset(longest, 'n', sizeof longest);
    t_shape_rules(&card, "card");
    BAD(card, 0, mp_put_u64(b, 2), "card: format");
    BAD(card, 1, mp_put_bin(b, dev->dev.b, 31), "card: dev_pk");
    BAD(card, 1, mp_put_bin(b, ID_NONE.b, 32), "card: dev_pk");
    BAD(card, 2, mp_put_bin(b, dev->dev.b, 31), "card: tr_pk");
    static const uint8_t weak[3][32] = {         /* three of the points of small order: no box can be sealed to them */
        { 0 }, { 1 },
        { 0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
          0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00 },
    };
    for (int i = 0; i < 3; i++)
        BAD(card, 2, mp_put_bin(b, weak[i], 32), "card: tr_pk: a weak key");
    BAD(card, 3, mp_put_str(b, ""), "card: name");
    BAD(card, 3, mp_put_strn(b, longest, 65), "card: name");
    GOOD(card, 3, mp_put_strn(b, longest, 64));
    BAD(card, 3, mp_put_str(b, "a/b"), "card: name");
    BAD(card, 3, mp_put_strn(b, "a\0b", 3), "card: name");
    BAD(card, 3, mp_put_str(b, "a\x1b[2J"), "card: name");
    BAD(card, 3, mp_put_str(b, "\xff"), "card: name");
    BAD(card, 3, mp_put_bin(b, "a", 1), "card: name: not a text");
    BAD(card, 4, mp_put_u64(b, RECORD_MS_MAX + 1), "card: created_ms");
    BAD(card, 4, mp_put_i64(b, -1), "card: created_ms");
    BAD(card, 5, mp_put_u64(b, RECORD_CAPS_MAX + 1), "card: caps");
    BAD(card, 5, mp_put_nil(b), "card: caps");
}

static void test_text(void)
{
    static const char *const bad[] = {
        "", "/", "a\nb", "\x7f", "\xc2\x80", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80",
        "\xe2\x80\xae.exe", "\xe2\x81\xa6", "\xe2\x80\xa8", "\xc3", "\xe2\x82", "\x80",
    };
    static const char *const good[] = { "a", "Büro 2", "\xf4\x8f\xbf\xbf", "\xe6\x97\xa5\xe6\x9c\xac", "\xf0\x9f\x98\x80", "a.b-c_d e" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        FAILS(device_name_check(bad[i]), ERR_BAD, "device name");
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        OK(device_name_check(good[i]));
}

static void test_card_encode_refuses(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(1000), small = BUF_INIT(100);
    struct card c = sample_card("a/b");
    FAILS(card_encode(&b, &c, dev), ERR_BAD, "card: name");
    EQ_U(b.len, 0);
    c = sample_card("ok");
    FAILS(card_encode(&small, &c, dev), ERR_FULL, "card");
}

static void test_card_bytes(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(1000);
    struct card c = sample_card("laptop");
    OK(card_encode(&b, &c, dev));
    t_truncations(card_bytes, &b);
    t_flips(card_bytes, &b);
}

/* A signature is good for one format and one key only. */
static void test_card_signature(void)
{
    struct shape s = { 0 };
    card_make(&s);
    FAILS(decode_blob(&s, s.n, "lanyard-addr-1", card_bytes), ERR_DENIED, "card: signature");
    struct device_keys *other = t_device(9);
    mp_put_bin(shape_set(&s, 1), other->dev.b, ID_LEN);
    FAILS(card_shape(&s, s.n), ERR_DENIED, "card: signature");
    device_keys_free(&other);
    shape_release(&s);
}

/* ---- genesis ---- */

static int genesis_bytes(const void *p, size_t n)
{
    struct genesis g;
    return genesis_decode(p, n, &g);
}
static void genesis_make(struct shape *s)
{
    AUTO(buf_release) struct buf b = BUF_INIT(1000);
    struct card c = sample_card("owner");
    OK(card_encode(&b, &c, dev));
    mp_put_u64(shape_add(s), 1);
    mp_put_bin(shape_add(s), b.data, b.len);
    mp_put_bin(shape_add(s), t_id(5).b, 32);
    mp_put_u64(shape_add(s), 1700000000001);
}
static int genesis_shape(const struct shape *s, size_t n)
{
    return decode_blob(s, n, "lanyard-gen-1", genesis_bytes);
}
static const struct subject genesis = { genesis_make, genesis_shape };

static void test_genesis(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(1000), blob = BUF_INIT(1000), twin = BUF_INIT(1000);
    struct card c = sample_card("owner");
    OK(card_encode(&b, &c, dev));
    struct bytes owner = { b.data, b.len }, rec;
    const uint8_t *sig;
    struct genesis g, h;
    OK(genesis_encode(&blob, &owner, 77, dev));
    OK(genesis_decode(blob.data, blob.len, &g));
    EQ_U(g.created_ms, 77);
    EQ_S(g.owner.name, "owner");
    OK(signed_split(blob.data, blob.len, &rec, &sig));
    struct id hash = id_hash(rec.p, rec.len);
    CHECK(id_eq(&hash, &g.group));
    OK(genesis_encode(&twin, &owner, 77, dev));
    OK(genesis_decode(twin.data, twin.len, &h));
    CHECK(!id_eq(&g.group, &h.group));          /* the random part */
    t_truncations(genesis_bytes, &blob);
    t_flips(genesis_bytes, &blob);
}

static void test_genesis_rules(void)
{
    t_shape_rules(&genesis, "genesis");
    BAD(genesis, 0, mp_put_u64(b, 0), "genesis: format");
    BAD(genesis, 1, mp_put_bin(b, "x", 1), "genesis: owner");
    BAD(genesis, 1, mp_put_nil(b), "genesis: owner card");
    BAD(genesis, 2, mp_put_bin(b, ID_NONE.b, 16), "genesis: random");
    BAD(genesis, 3, mp_put_u64(b, RECORD_MS_MAX + 1), "genesis: created_ms");
}

/* ---- address cards ---- */

static int addr_bytes(const void *p, size_t n)
{
    struct addr_card a;
    return addr_card_decode(p, n, &a);
}
static void addr_make(struct shape *s)
{
    mp_put_u64(shape_add(s), 1);
    mp_put_bin(shape_add(s), group.b, ID_LEN);
    mp_put_bin(shape_add(s), dev->dev.b, ID_LEN);
    mp_put_u64(shape_add(s), 5);
    struct buf *b = shape_add(s);
    mp_put_array(b, 2);
    mp_put_str(b, "192.0.2.7:7447");
    mp_put_str(b, "[2001:db8::1]:7447");
}
static int addr_shape(const struct shape *s, size_t n)
{
    return decode_blob(s, n, "lanyard-addr-1", addr_bytes);
}
static const struct subject addr = { addr_make, addr_shape };

static void addrs_put(struct buf *b, size_t n, const char *text)
{
    mp_put_array(b, n);
    for (size_t i = 0; i < n; i++) {
        char numbered[80];
        snprintf(numbered, sizeof numbered, text, (unsigned)i);
        mp_put_str(b, numbered);
    }
}

static void test_addr_rules(void)
{
    t_shape_rules(&addr, "address card");
    BAD(addr, 0, mp_put_u64(b, 2), "address card: format");
    BAD(addr, 1, mp_put_bin(b, ID_NONE.b, 32), "address card: group_id");
    BAD(addr, 2, mp_put_bin(b, ID_NONE.b, 32), "address card: dev");
    BAD(addr, 3, mp_put_u64(b, RECORD_MS_MAX + 1), "address card: wall_ms");
    BAD(addr, 4, mp_put_array(b, 0), "address card: addr");
    BAD(addr, 4, addrs_put(b, LIMIT_ADDRS + 1, "host%u:1"), "address card: addr");
    GOOD(addr, 4, addrs_put(b, LIMIT_ADDRS, "host%u:1"));
    BAD(addr, 4, addrs_put(b, 2, "host:1"), "listed twice");
    BAD(addr, 4, addrs_put(b, 1, "0123456789012345678901234567890123456789012345678901234567890:12"), "address card: addr");
    BAD(addr, 4, addrs_put(b, 1, "host"), "address card: addr");
}

static void test_addr_check(void)
{
    static const char *const bad[] = {
        "", ":1", "h:", "h", "h:0", "h:65536", "h:01", "h:1x", "*:1", "h;tcp://x:1", "fe80::1:1", "[::1]", "[]:1", "[fe80::1%2]:1",
        "h :1", "h:123456", "h/../:1", "[::1:1", "\xc3\xbc:1", "a:b:1",
    };
    static const char *const good[] = { "h:1", "nas.example-1.org:65535", "10.0.0.1:7447", "[::1]:7447", "[fe80::1:2]:80", "my_host:1" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        FAILS(addr_check(bad[i], strlen(bad[i])), ERR_BAD, "address");
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        OK(addr_check(good[i], strlen(good[i])));
}

static void test_addr_card(void)
{
    struct addr_card a = { .group = group, .dev = dev->dev, .wall_ms = 12, .naddr = 2 }, c;
    memcpy(a.addr[0], "h:1", 4);
    memcpy(a.addr[1], "[::1]:2", 8);
    AUTO(buf_release) struct buf b = BUF_INIT(2000);
    OK(addr_card_encode(&b, &a, dev));
    OK(addr_card_decode(b.data, b.len, &c));
    EQ_U(c.naddr, 2);
    EQ_S(c.addr[0], "h:1");
    EQ_S(c.addr[1], "[::1]:2");
    EQ_U(c.wall_ms, 12);
    CHECK(id_eq(&c.dev, &a.dev) && id_eq(&c.group, &a.group));
    t_truncations(addr_bytes, &b);
    t_flips(addr_bytes, &b);
    memcpy(a.addr[1], "h:1", 4);
    FAILS(addr_card_encode(&b, &a, dev), ERR_BAD, "listed twice");
}

/* ---- headers ---- */

static void header_make(struct shape *s)
{
    mp_put_u64(shape_add(s), 1);
    mp_put_bin(shape_add(s), group.b, ID_LEN);
    mp_put_bin(shape_add(s), dev->dev.b, ID_LEN);
    mp_put_bin(shape_add(s), "incarnat", 8);
    mp_put_u64(shape_add(s), 8);
    mp_put_u64(shape_add(s), 3);
    mp_put_bin(shape_add(s), t_id(4).b, ID_LEN);
    mp_put_bin(shape_add(s), t_id(5).b, ID_LEN);
    mp_put_u64(shape_add(s), 6);
    mp_put_u64(shape_add(s), 7);
    mp_put_u64(shape_add(s), 8);
    mp_put_u64(shape_add(s), 0);
}
static int header_shape(const struct shape *s, size_t n)
{
    AUTO(buf_release) struct buf rec = BUF_INIT(1000);
    uint8_t sig[SIG_LEN];
    struct header h;
    shape_put(&rec, s, n);
    keys_sign(sig, "lanyard-cs-1", rec.data, rec.len, dev);
    return header_decode(rec.data, rec.len, sig, &h);
}
static const struct subject header = { header_make, header_shape };

static void test_header_rules(void)
{
    t_shape_rules(&header, "header");
    BAD(header, 0, mp_put_u64(b, 2), "header: format");
    BAD(header, 1, mp_put_bin(b, ID_NONE.b, 32), "header: group_id");
    BAD(header, 2, mp_put_bin(b, ID_NONE.b, 32), "header: dev");
    BAD(header, 3, mp_put_bin(b, "incarna", 7), "header: inc");
    BAD(header, 4, mp_put_u64(b, 0), "header: first");
    BAD(header, 4, mp_put_u64(b, 1), "header: prev");            /* with a prev */
    BAD(header, 7, mp_put_bin(b, ID_NONE.b, 32), "header: prev"); /* first > 1 without */
    BAD(header, 4, mp_put_u64(b, LIMIT_SEQ - 2), "header: count");
    GOOD(header, 4, mp_put_u64(b, LIMIT_SEQ - 3));
    BAD(header, 4, mp_put_u64(b, LIMIT_SEQ + 1), "header: first");
    BAD(header, 4, mp_put_u64(b, UINT64_MAX), "header: first");
    BAD(header, 5, mp_put_u64(b, 0), "header: count");
    BAD(header, 5, mp_put_u64(b, LIMIT_CS_COUNT + 1), "header: count");
    GOOD(header, 5, mp_put_u64(b, LIMIT_CS_COUNT));
    BAD(header, 5, mp_put_u64(b, (1ull << 32) + 1), "header: count");
    BAD(header, 6, mp_put_bin(b, ID_NONE.b, 32), "header: root");
    BAD(header, 8, mp_put_u64(b, RECORD_HLC_MAX + 1), "header: hlc_max");
    BAD(header, 9, mp_put_u64(b, RECORD_MS_MAX + 1), "header: wall_ms");
    BAD(header, 10, mp_put_u64(b, LIMIT_SEQ + 1), "header: ctl_n");
    BAD(header, 11, mp_put_u64(b, 1), "header: flags");
}

static struct header sample_header(uint64_t *seed)
{
    struct header h = { .group = group, .dev = dev->dev };
    t_bytes(seed, h.inc, sizeof h.inc);
    t_bytes(seed, h.root.b, ID_LEN);
    h.first = 1 + t_num(seed, LIMIT_SEQ - LIMIT_CS_COUNT - 1);
    h.count = 1 + (uint32_t)t_num(seed, LIMIT_CS_COUNT - 1);
    if (h.first > 1)
        t_bytes(seed, h.prev.b, ID_LEN);
    h.hlc_max = t_num(seed, RECORD_HLC_MAX);
    h.wall_ms = t_num(seed, RECORD_MS_MAX);
    h.ctl_n = t_num(seed, LIMIT_SEQ);
    return h;
}

static void test_header_round_trip(void)
{
    uint64_t seed = 2;
    for (int i = 0; i < 200; i++) {
        struct header h = sample_header(&seed), d;
        uint8_t sig[SIG_LEN];
        AUTO(buf_release) struct buf b = BUF_INIT(1000);
        buf_add_str(&b, "before");               /* headers are appended */
        OK(header_encode(&b, sig, &h, dev));
        OK(header_decode(b.data + 6, b.len - 6, sig, &d));
        CHECK(id_eq(&h.group, &d.group) && id_eq(&h.dev, &d.dev) && id_eq(&h.root, &d.root) && id_eq(&h.prev, &d.prev));
        EQ_MEM(h.inc, d.inc, 8);
        EQ_U(d.first, h.first);
        EQ_U(d.count, h.count);
        CHECK(d.hlc_max == h.hlc_max && d.wall_ms == h.wall_ms && d.ctl_n == h.ctl_n && d.flags == 0);
        struct id hash = id_hash(b.data + 6, b.len - 6);
        struct sid sid = sid_make(&group, &dev->dev, h.inc);
        CHECK(id_eq(&hash, &d.hash) && sid_eq(&sid, &d.sid));
    }
    struct header bad = sample_header(&seed);
    bad.count = 0;
    uint8_t sig[SIG_LEN];
    AUTO(buf_release) struct buf b = BUF_INIT(1000);
    FAILS(header_encode(&b, sig, &bad, dev), ERR_BAD, "header: count");
    EQ_U(b.len, 0);
}

/* The record and, behind it, its signature. */
static int header_bytes(const void *p, size_t n)
{
    struct header h;
    if (n < SIG_LEN)
        return ERR_BAD;
    return header_decode(p, n - SIG_LEN, (const uint8_t *)p + n - SIG_LEN, &h);
}

static void test_header_bytes(void)
{
    uint64_t seed = 3;
    struct header h = sample_header(&seed);
    uint8_t sig[SIG_LEN];
    AUTO(buf_release) struct buf b = BUF_INIT(1000);
    OK(header_encode(&b, sig, &h, dev));
    buf_add(&b, sig, sizeof sig);
    t_truncations(header_bytes, &b);
    t_flips(header_bytes, &b);
}

static void test_split(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(1000), c = BUF_INIT(1000);
    struct bytes rec;
    const uint8_t *sig;
    signed_put(&b, "lanyard-x", "record", 6, dev);
    OK(signed_split(b.data, b.len, &rec, &sig));
    EQ_U(rec.len, 6);
    EQ_MEM(rec.p, "record", 6);
    OK(keys_verify(sig, "lanyard-x", "record", 6, &dev->dev));
    mp_put_array(&c, 2);
    mp_put_bin(&c, "record", 6);
    mp_put_bin(&c, sig, SIG_LEN - 1);
    FAILS(signed_split(c.data, c.len, &rec, &sig), ERR_BAD, "signature");
    FAILS(signed_split("\x92\xc4\x00\xc4\x00", 5, &rec, &sig), ERR_BAD, "record");
    FAILS(signed_split("\x91\xc4\x00", 3, &rec, &sig), ERR_BAD, "fields");
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    dev = t_device(1);
    group = t_id(0x47);
    RUN(test_card_round_trip);
    RUN(test_card_rules);
    RUN(test_text);
    RUN(test_card_encode_refuses);
    RUN(test_card_bytes);
    RUN(test_card_signature);
    RUN(test_genesis);
    RUN(test_genesis_rules);
    RUN(test_addr_rules);
    RUN(test_addr_check);
    RUN(test_addr_card);
    RUN(test_header_rules);
    RUN(test_header_round_trip);
    RUN(test_header_bytes);
    RUN(test_split);
    device_keys_free(&dev);
    return t_done();
}
