/* Records. The first byte selects the decoder: 0 card, 1 genesis, 2 control record, 3 header, 4 entry, 5 vector, 6 address card.
 * The rest is the record, which is signed here with a fixed key, for a fuzzer cannot guess a signature; with 8 added it is the
 * signed blob itself. What a decoder accepts must come out the same when it is encoded and decoded again. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/path.h"
#include "proto/record.h"
#include "tests/fuzz/alice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool ours(const struct id *dev)
{
    return id_eq(dev, &alice()->dev);
}

/* Two encodings of the same must be equal. */
static void same(int code, const struct buf *x, const struct buf *y)
{
    assert(code == 0 && x->len == y->len && memcmp(x->data, y->data, x->len) == 0);
}

static void try_card(const uint8_t *p, size_t n)
{
    struct card c, d;
    if (card_decode(p, n, &c) != 0 || !ours(&c.dev))
        return;
    AUTO(buf_release) struct buf x = BUF_INIT(LIMIT_BODY), y = BUF_INIT(LIMIT_BODY);
    int code = card_encode(&x, &c, alice());
    assert(code == 0 && card_decode(x.data, x.len, &d) == 0 && memcmp(&c, &d, sizeof c) == 0);
    same(card_encode(&y, &d, alice()), &x, &y);
    assert(device_name_check(c.name) == 0);
}

static void try_genesis(const uint8_t *p, size_t n)
{
    struct genesis g;
    if (genesis_decode(p, n, &g) == 0)
        assert(!id_is_none(&g.group) && device_name_check(g.owner.name) == 0);
}

/* Reads the lists of an op to their ends. */
static void read_lists(const struct ctl_op *op)
{
    struct mp cuts = cuts_reader(&op->cuts), keys = epoch_keys_reader(&op->keys);
    for (uint32_t i = 0; i < op->ncuts; i++) {
        struct cut c;
        cut_next(&cuts, &c);
        assert(!cuts.failed && c.seq <= LIMIT_SEQ);
    }
    for (uint32_t i = 0; i < op->nkeys; i++) {
        struct id dev;
        struct bytes sealed;
        epoch_key_next(&keys, &dev, &sealed);
        assert(!keys.failed && sealed.len == SEALED_KEYS);
    }
    assert(mp_done(&cuts, "cuts") == 0 && mp_done(&keys, "keys") == 0);
}

static void try_ctl(const uint8_t *p, size_t n)
{
    struct ctl c, d;
    struct ctl_op op[LIMIT_CTL_OPS];
    if (ctl_decode(p, n, &c) != 0 || !ours(&c.signer))
        return;
    struct mp m = ctl_ops(&c);
    for (uint32_t i = 0; i < c.nops; i++) {
        ctl_op_next(&m, &op[i]);
        read_lists(&op[i]);
    }
    assert(mp_done(&m, "ops") == 0);
    AUTO(buf_release) struct buf x = BUF_INIT(LIMIT_BODY), y = BUF_INIT(LIMIT_BODY);
    int code = ctl_encode(&x, &c, op, c.nops, alice());
    assert(code == 0 && ctl_decode(x.data, x.len, &d) == 0 && d.n == c.n && d.nops == c.nops && id_eq(&d.prev, &c.prev));
    m = ctl_ops(&d);
    for (uint32_t i = 0; i < d.nops; i++)
        ctl_op_next(&m, &op[i]);
    same(ctl_encode(&y, &d, op, d.nops, alice()), &x, &y);
}

static void try_header(const uint8_t *p, size_t n, const uint8_t *sig)
{
    struct header h, d;
    uint8_t again[SIG_LEN];
    if (header_decode(p, n, sig, &h) != 0 || !ours(&h.dev))
        return;
    assert(h.first >= 1 && h.count >= 1 && h.first + h.count <= LIMIT_SEQ && (h.first == 1) == id_is_none(&h.prev));
    AUTO(buf_release) struct buf x = BUF_INIT(LIMIT_BODY);
    int code = header_encode(&x, again, &h, alice());
    assert(code == 0 && header_decode(x.data, x.len, again, &d) == 0);
    d.hash = h.hash;                             /* numbers may have been written longer than necessary */
    assert(memcmp(&h, &d, sizeof h) == 0);
}

static void try_entry(const uint8_t *p, size_t n)
{
    static struct entry e, d;                    /* their lists are used again, as in the node */
    if (entry_decode(p, n, &e) != 0)
        return;
    bool own = path_is_snapshot(e.path.p, e.path.len), note = e.kind == KIND_NOTE;
    assert((own ? path_check_snapshot : note ? path_check_note : path_check)(e.path.p, e.path.len) == 0);
    assert(own ? e.kind == KIND_SNAPSHOT || e.kind == KIND_TOMBSTONE : e.kind != KIND_SNAPSHOT);
    assert(path_is_own(e.path.p, e.path.len) == (own || note));
    assert(!note || (e.v.ctx.n == 0 && e.v.except.n == 0 && e.size <= LIMIT_NOTE));
    assert(e.mode <= 0777 && e.v.ctx.n <= LIMIT_CTX && e.v.except.n <= LIMIT_CTX);
    assert(e.content.type != CONTENT_INLINE || e.content.inline_bytes.len == e.size);
    assert((e.kind == KIND_FILE || e.kind == KIND_SYMLINK || note) == (e.content.type != CONTENT_NONE));
    AUTO(buf_release) struct buf x = BUF_INIT(LIMIT_ENTRY), y = BUF_INIT(LIMIT_ENTRY);
    int code = entry_encode(&x, &e);
    assert(code == 0 && entry_decode(x.data, x.len, &d) == 0 && (own || entry_same(&e, &d)));
    assert(d.mtime_ns == e.mtime_ns && d.v.hlc == e.v.hlc && d.flags == e.flags && d.v.ctx.n == e.v.ctx.n);
    same(entry_encode(&y, &d), &x, &y);
}

static void try_vec(const uint8_t *p, size_t n)
{
    AUTO(vec_release) struct vec v = { 0 }, d = { 0 };
    if (vec_decode(p, n, &v) != 0 || !ours(&v.dev))
        return;
    struct mp m = vec_reqs(&v);
    for (uint32_t i = 0; i < v.nreqs; i++) {
        struct vec_req r;
        vec_req_next(&m, &r);
    }
    assert(mp_done(&m, "reqs") == 0);
    for (size_t i = 0; i < v.nstream; i++)
        assert(vec_find(&v, &v.stream[i].sid) == &v.stream[i] && v.stream[i].content <= v.stream[i].known);
    AUTO(buf_release) struct buf x = BUF_INIT(LIMIT_BODY), y = BUF_INIT(LIMIT_BODY);
    int code = vec_encode(&x, &v, alice());
    assert(code == 0 && vec_decode(x.data, x.len, &d) == 0 && d.nstream == v.nstream);
    same(vec_encode(&y, &d, alice()), &x, &y);
}

static void try_addr(const uint8_t *p, size_t n)
{
    struct addr_card a, d;
    if (addr_card_decode(p, n, &a) != 0 || !ours(&a.dev))
        return;
    for (uint32_t i = 0; i < a.naddr; i++)
        assert(addr_check(a.addr[i], strlen(a.addr[i])) == 0);
    AUTO(buf_release) struct buf x = BUF_INIT(LIMIT_BODY);
    int code = addr_card_encode(&x, &a, alice());
    assert(code == 0 && addr_card_decode(x.data, x.len, &d) == 0 && memcmp(&a, &d, sizeof a) == 0);
}

static const struct { const char *context; void (*blob)(const uint8_t *p, size_t n); } kinds[] = {
    { "lanyard-card-1", try_card }, { "lanyard-gen-1", try_genesis }, { "lanyard-ctl-1", try_ctl }, { "lanyard-cs-1", NULL },
    { NULL, NULL }, { "lanyard-vec-1", try_vec }, { "lanyard-addr-1", try_addr },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > LIMIT_BODY / 2 || data[0] % 8 == 7 || data[0] > 15)
        return 0;
    size_t kind = data[0] % 8;
    bool raw = data[0] >= 8;
    data++, size--;
    uint8_t sig[SIG_LEN] = { 0 };
    if (kind == 4) {
        try_entry(data, size);
    } else if (kind == 3) {
        if (!raw)
            keys_sign(sig, kinds[kind].context, data, size, alice());
        try_header(data, size, sig);
    } else if (raw) {
        (void)alice();
        kinds[kind].blob(data, size);
    } else {
        AUTO(buf_release) struct buf blob = BUF_INIT(LIMIT_BODY);
        signed_put(&blob, kinds[kind].context, data, size, alice());
        kinds[kind].blob(blob.data, blob.len);
    }
    return 0;
}
