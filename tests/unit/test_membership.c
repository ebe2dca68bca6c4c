#include "proto/limits.h"
#include "proto/pake.h"
#include "tests/unit/t.h"

static void put_blob(struct buf *b, const char *record, size_t siglen)
{
    uint8_t sig[100];
    memset(sig, 's', sizeof sig);
    mp_put_array(b, 2);
    mp_put_bin(b, record, strlen(record));
    mp_put_bin(b, sig, siglen);
}

static struct bytes bytes_of(const struct buf *b)
{
    return (struct bytes){ b->data, b->len };
}

/* A membership with n control records and n addresses; the buffers hold its parts. */
struct parts { struct buf genesis, ctl, addrs; };
static struct membership make(struct parts *p, uint32_t n)
{
    *p = (struct parts){ BUF_INIT(1000000), BUF_INIT(1000000), BUF_INIT(1000000) };
    put_blob(&p->genesis, "genesis", 64);
    for (uint32_t i = 0; i < n; i++) {
        put_blob(&p->ctl, "control record", 64);
        mp_put_str(&p->addrs, i % 2 ? "[fe80::1%eth0]:4711" : "192.0.2.1:4711");
    }
    struct membership m = { .genesis = bytes_of(&p->genesis), .ctl = bytes_of(&p->ctl), .nctl = n, .epoch = 7,
                            .addrs = bytes_of(&p->addrs), .naddr = n };
    memset(m.k_group, 'g', 32);
    memset(m.k_epoch, 'e', 32);
    return m;
}

static void parts_release(struct parts *p)
{
    buf_release(&p->genesis);
    buf_release(&p->ctl);
    buf_release(&p->addrs);
}

static void same_bytes(struct bytes a, struct bytes b)
{
    EQ_U(a.len, b.len);
    if (a.len)
        EQ_MEM(a.p, b.p, a.len);
}

static void what_is_encoded_is_decoded(void)
{
    for (uint32_t n = 0; n <= LIMIT_ADDRS; n++) {
        struct parts p;
        struct membership m = make(&p, n), back;
        AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BODY);
        OK(membership_encode(&b, &m));
        OK(membership_decode(b.data, b.len, &back));
        same_bytes(back.genesis, m.genesis);
        same_bytes(back.ctl, m.ctl);
        same_bytes(back.addrs, m.addrs);
        EQ_U(back.nctl, n);
        EQ_U(back.naddr, n);
        EQ_U(back.epoch, 7);
        EQ_MEM(back.k_group, m.k_group, 32);
        EQ_MEM(back.k_epoch, m.k_epoch, 32);
        parts_release(&p);
    }
}

/* The form of docs/PROTOCOL.md, byte by byte. */
static void the_bytes_are_fixed(void)
{
    struct parts p;
    struct membership m = make(&p, 0);
    AUTO(buf_release) struct buf b = BUF_INIT(1000), want = BUF_INIT(1000);
    OK(membership_encode(&b, &m));
    buf_add(&want, "\x97\x01\x92\xc4\x07genesis\xc4\x40", 14);
    for (int i = 0; i < 64; i++)
        buf_add(&want, "s", 1);
    buf_add(&want, "\x90\xc4\x20gggggggggggggggggggggggggggggggg", 35);
    buf_add(&want, "\xc4\x20" "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee\x07\x90", 36);
    EQ_U(b.len, want.len);
    EQ_MEM(b.data, want.data, b.len);
    parts_release(&p);
}

static void too_large_is_full(void)
{
    struct parts p;
    struct membership m = make(&p, 8);
    AUTO(buf_release) struct buf b = BUF_INIT(500);
    FAILS(membership_encode(&b, &m), ERR_FULL, "membership");
    parts_release(&p);
}

static void every_cut_and_every_extra_byte_is_refused(void)
{
    struct parts p;
    struct membership m = make(&p, 3), back;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BODY);
    OK(membership_encode(&b, &m));
    for (size_t len = 0; len < b.len; len++) {
        uint8_t *exact = malloc(len + 1);        /* so that the sanitizer sees a read past the end */
        memcpy(exact + 1, b.data, len);
        FAILS(membership_decode(exact + 1, len, &back), ERR_BAD, "membership");
        free(exact);
    }
    buf_add(&b, "\xc0", 1);
    FAILS(membership_decode(b.data, b.len, &back), ERR_BAD, "membership");
    parts_release(&p);
}

/* Encodes m as it is, which is not checked, and wants it refused, leaving nothing behind. */
static void refused(const struct membership *m)
{
    static const struct membership zero;
    struct membership back;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BODY);
    OK(membership_encode(&b, m));
    FAILS(membership_decode(b.data, b.len, &back), ERR_BAD, "membership");
    EQ_MEM(back.k_group, zero.k_group, 32);
    EQ_MEM(back.k_epoch, zero.k_epoch, 32);
    CHECK(!back.genesis.p && !back.ctl.p && !back.addrs.p);
}

static void blobs_of_another_form_are_refused(void)
{
    struct parts p;
    struct membership m = make(&p, 2), bad;
    AUTO(buf_release) struct buf b = BUF_INIT(1000000);
    for (size_t siglen = 63; siglen <= 65; siglen += 2) {
        buf_clear(&b);
        put_blob(&b, "genesis", siglen);
        bad = m, bad.genesis = bytes_of(&b);
        refused(&bad);
        bad = m, bad.ctl = bytes_of(&b), bad.nctl = 1;
        refused(&bad);
    }
    buf_clear(&b);
    put_blob(&b, "", 64);
    bad = m, bad.genesis = bytes_of(&b);
    refused(&bad);

    AUTOFREE char *big = xcalloc(LIMIT_CTL_BYTES + 2, 1);
    memset(big, 'x', LIMIT_CTL_BYTES + 1);
    buf_clear(&b);
    put_blob(&b, big, 64);
    bad = m, bad.ctl = bytes_of(&b), bad.nctl = 1;
    refused(&bad);

    bad = m, bad.genesis = (struct bytes){ (const uint8_t *)"\xc4\x01x", 3 };   /* a bin, not a blob */
    refused(&bad);
    parts_release(&p);
}

static void wrong_counts_are_refused(void)
{
    struct parts p;
    struct membership m = make(&p, 2), bad;
    bad = m, bad.nctl = 1;
    refused(&bad);
    bad = m, bad.nctl = 3;
    refused(&bad);
    bad = m, bad.naddr = 1;
    refused(&bad);
    bad = m, bad.naddr = 3;
    refused(&bad);
    parts_release(&p);
    bad = make(&p, LIMIT_ADDRS + 1);
    refused(&bad);
    parts_release(&p);
}

static void addresses_of_another_form_are_refused(void)
{
    static const char *const text[] = { "", "a b:1", "a\n:1", "h\xc3\xb6st:1", "a\x7f:1",
        "1234567890123456789012345678901234567890123456789012345678:12345" };
    struct parts p;
    struct membership m = make(&p, 1);
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        buf_clear(&p.addrs);
        mp_put_str(&p.addrs, text[i]);
        m.addrs = bytes_of(&p.addrs);
        refused(&m);
    }
    buf_clear(&p.addrs);
    mp_put_bin(&p.addrs, "a:1", 3);
    m.addrs = bytes_of(&p.addrs);
    refused(&m);
    parts_release(&p);
}

/* One byte changed at a time: either refused, or a value within the rules; never a read outside (the sanitizer's part). */
static void every_changed_byte_is_survived(void)
{
    struct parts p;
    struct membership m = make(&p, 2), back;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BODY);
    OK(membership_encode(&b, &m));
    for (size_t i = 0; i < b.len; i++)
        for (unsigned v = 0; v < 256; v++) {
            uint8_t was = b.data[i];
            b.data[i] = (uint8_t)v;
            int rc = membership_decode(b.data, b.len, &back);
            CHECK(rc == 0 || rc == ERR_BAD);
            if (rc == 0)
                CHECK(back.nctl == 2 && back.naddr == 2);
            b.data[i] = was;
        }
    parts_release(&p);
}

static void another_version_is_refused(void)
{
    struct parts p;
    struct membership m = make(&p, 1), back;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BODY);
    OK(membership_encode(&b, &m));
    b.data[1] = 2;
    FAILS(membership_decode(b.data, b.len, &back), ERR_BAD, "membership");
    b.data[1] = 0;
    FAILS(membership_decode(b.data, b.len, &back), ERR_BAD, "membership");
    parts_release(&p);
}

int main(void)
{
    RUN(what_is_encoded_is_decoded);
    RUN(the_bytes_are_fixed);
    RUN(too_large_is_full);
    RUN(every_cut_and_every_extra_byte_is_refused);
    RUN(blobs_of_another_form_are_refused);
    RUN(wrong_counts_are_refused);
    RUN(addresses_of_another_form_are_refused);
    RUN(every_changed_byte_is_survived);
    RUN(another_version_is_refused);
    return t_done();
}
