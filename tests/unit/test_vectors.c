/* The test vectors of tests/vectors (see make.py there, which makes them without this code): every record and message is encoded
 * to exactly these bytes and decoded from them to exactly these fields. */
#include "proto/msg.h"
#include "proto/note.h"
#include "proto/vv.h"
#include "tests/unit/t_record.h"
#include "tests/unit/t_vectors.h"

static struct device_keys *alice, *bob;
static struct id group;

/* ---- keys and trees ---- */

static void test_keys(void)
{
    char want[80], got[FINGERPRINT_LEN];
    uint8_t pk[32], sk[32], sig[SIG_LEN];
    const struct device_keys *pair[2] = { alice, bob };
    for (int i = 0; i < 2; i++) {
        const char *who = i ? "bob" : "alice";
        SAME(pair[i]->dev.b, 32, hex("%s.dev", who));
        SAME(pair[i]->tr_pk, 32, hex("%s.tr_pk", who));
        SAME(pair[i]->tr_sk, 32, hex("%s.tr_sk", who));
        text(want, "%s.fingerprint", who);
        EQ_S(id_fingerprint(&pair[i]->dev, got), want);
    }
    struct group_keys *g = group_keys_new();
    memcpy(g->k_group, hex("k_group").p, 32);
    keys_chunk(g, sk);
    SAME(sk, 32, hex("chunk"));
    keys_disc(g, sk);
    SAME(sk, 32, hex("disc"));
    keys_topic(g, sk);
    SAME(sk, 8, hex("topic"));
    keys_server(g, pk, sk);
    SAME(pk, 32, hex("server.pk"));
    SAME(sk, 32, hex("server.sk"));
    keys_join_server(pk, sk);
    SAME(pk, 32, hex("join_server.pk"));
    SAME(sk, 32, hex("join_server.sk"));
    group_keys_free(&g);
    text(want, "sign.context");
    struct bytes data = hex("sign.data");
    keys_sign(sig, want, data.p, data.len, alice);
    SAME(sig, SIG_LEN, hex("sign.sig"));
    struct id gid = id_of(hex("sid.group"));
    struct sid sid = sid_make(&gid, &alice->dev, hex("sid.inc").p);
    SAME(sid.b, SID_LEN, hex("sid.sid"));
}

static void test_trees(void)
{
    static const unsigned merkle[] = { 1, 2, 3, 4, 5, 7, 8, 13, 4096 }, blocks[] = { 2, 3, 4096, 4097, 8193 };
    AUTOFREE struct id *leaf = xcalloc(4096, sizeof *leaf);
    AUTOFREE uint8_t *refs = xcalloc(8193, BLOCK_REF);
    for (unsigned i = 0; i < 4096; i++) {
        char entry[20];
        int len = snprintf(entry, sizeof entry, "entry %u", i);
        leaf[i] = merkle_leaf(entry, (size_t)len);
    }
    for (unsigned i = 0; i < 8193; i++) {
        uint8_t le[4] = { (uint8_t)i, (uint8_t)(i >> 8), 0, 0 };
        block_ref_put(refs + (size_t)i * BLOCK_REF, &(struct block_ref){ id_hash(le, 4), 1 + i });
    }
    for (size_t i = 0; i < sizeof merkle / sizeof *merkle; i++) {
        struct id root = merkle_root(leaf, merkle[i]);
        SAME(root.b, ID_LEN, hex("merkle.%u", merkle[i]));
    }
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        struct id root = block_root(refs, blocks[i]);
        SAME(root.b, ID_LEN, hex("blocks.%u", blocks[i]));
    }
    struct id proof[MERKLE_PROOF_MAX];
    size_t n = merkle_proof(leaf, 7, 4, proof);
    SAME(proof[0].b, n * ID_LEN, hex("proof.4.7"));
}

/* ---- records ---- */

static void test_cards(void)
{
    const struct device_keys *pair[2] = { alice, bob };
    for (int i = 0; i < 2; i++) {
        const char *who = i ? "bob" : "alice";
        char name[80];
        struct card c = { .dev = pair[i]->dev, .created_ms = num("card.%s.created_ms", who), .caps = num("card.%s.caps", who) }, d;
        memcpy(c.tr_pk, pair[i]->tr_pk, 32);
        text(name, "card.%s.name", who);
        memcpy(c.name, name, strlen(name) < sizeof c.name ? strlen(name) : 0);
        AUTO(buf_release) struct buf b = BUF_INIT(1000);
        OK(card_encode(&b, &c, pair[i]));
        SAME(b.data, b.len, hex("card.%s.blob", who));
        OK(card_decode(b.data, b.len, &d));
        EQ_S(d.name, name);
        CHECK(id_eq(&d.dev, &c.dev) && memcmp(d.tr_pk, c.tr_pk, 32) == 0 && d.created_ms == c.created_ms && d.caps == c.caps);
    }
}

static void test_genesis(void)
{
    struct genesis g;
    struct bytes blob = hex("genesis.blob"), rec;
    const uint8_t *sig;
    OK(genesis_decode(blob.p, blob.len, &g));
    EQ_U(g.created_ms, num("genesis.created_ms"));
    CHECK(id_eq(&g.group, &group) && id_eq(&g.owner.dev, &alice->dev));
    OK(signed_split(blob.p, blob.len, &rec, &sig));
    SAME(rec.p, rec.len, hex("genesis.record"));
    SAME(sig, SIG_LEN, hex("genesis.sig"));
}

/* The ops of the vector as the caller of ctl_encode has them. */
enum { OPS = OP_RECOVERY };
static void ctl_vector_ops(struct ctl_op op[OPS])
{
    static const char message[] = "take this", url[] = "tcp://relay.example.org:7447", name[] = "shed";
    struct bytes cuts = hex("ctl.cuts");
    op[0] = (struct ctl_op){ .type = OP_ADD, .card = hex("card.bob.blob"), .role = ROLE_MEMBER, .sealed = hex("ctl.box") };
    op[1] = (struct ctl_op){ .type = OP_REVOKE, .dev = bob->dev, .cuts = cuts };
    op[2] = (struct ctl_op){ .type = OP_ROLE, .dev = bob->dev, .role = ROLE_READER };
    op[3] = (struct ctl_op){ .type = OP_EPOCH, .epoch = 2, .keys = hex("ctl.keys") };
    op[4] = (struct ctl_op){ .type = OP_REQUIRE, .cuts = cuts, .text = t_str(message), .mode = REQUIRE_AUTO,
                             .until_ms = num("ctl.ts_ms") - 1, .to = hex("ctl.to") };
    op[5] = (struct ctl_op){ .type = OP_CANCEL };
    memset(op[4].require_id, 5, 16);
    memset(op[5].require_id, 5, 16);
    op[6] = (struct ctl_op){ .type = OP_DORMANT, .dev = bob->dev };
    op[7] = (struct ctl_op){ .type = OP_RELAY, .text = t_str(url) };
    memset(op[7].relay_pk, 8, 32);
    op[8] = (struct ctl_op){ .type = OP_POLICY, .policy = hex("ctl.policy") };
    op[9] = (struct ctl_op){ .type = OP_NAME, .dev = bob->dev, .text = t_str(name) };
    op[10] = (struct ctl_op){ .type = OP_RECOVERY };
    memset(op[10].recovery.b, 11, ID_LEN);
}

static void test_ctl(void)
{
    struct ctl_op op[OPS], got;
    struct ctl c = { .group = group, .prev = group, .n = num("ctl.n"), .ts_ms = num("ctl.ts_ms"), .signer = alice->dev }, d;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_BYTES);
    ctl_vector_ops(op);
    OK(ctl_encode(&b, &c, op, OPS, alice));
    SAME(b.data, b.len, hex("ctl.blob"));
    OK(ctl_decode(b.data, b.len, &d));
    SAME(d.hash.b, ID_LEN, hex("ctl.hash"));
    CHECK(d.n == c.n && d.ts_ms == c.ts_ms && id_eq(&d.signer, &alice->dev) && id_eq(&d.prev, &group) && d.nops == OPS);
    struct mp m = ctl_ops(&d);
    for (int i = 0; i < OPS; i++) {
        const uint8_t *start = m.p;
        ctl_op_next(&m, &got);
        SAME(start, (size_t)(m.p - start), hex("ctl.op.%d", i));
        EQ_U(got.type, i + 1);
        EQ_U(got.ncuts, op[i].cuts.len ? 2 : 0);
        EQ_U(got.nkeys, i == 3 ? 2 : 0);
    }
    OK(mp_done(&m, "ops"));
}

static void test_headers(void)
{
    static const char *const name[] = { "header.first", "header.second", "header.forked" };
    for (int i = 0; i < 3; i++) {
        const char *n = name[i];
        struct header h = { .group = group, .dev = alice->dev, .root = id_of(hex("%s.root", n)), .prev = id_of(hex("%s.prev", n)),
                            .first = num("%s.first", n), .count = (uint32_t)num("%s.count", n), .hlc_max = num("%s.hlc_max", n),
                            .wall_ms = num("%s.wall_ms", n), .ctl_n = num("%s.ctl_n", n) }, d;
        memcpy(h.inc, "incarnat", 8);
        uint8_t sig[SIG_LEN];
        AUTO(buf_release) struct buf b = BUF_INIT(1000);
        OK(header_encode(&b, sig, &h, alice));
        SAME(b.data, b.len, hex("%s.record", n));
        SAME(sig, SIG_LEN, hex("%s.sig", n));
        OK(header_decode(b.data, b.len, sig, &d));
        SAME(d.hash.b, ID_LEN, hex("%s.hash", n));
        SAME(d.sid.b, SID_LEN, hex("%s.sid", n));
        CHECK(id_eq(&d.root, &h.root) && id_eq(&d.prev, &h.prev) && d.first == h.first && d.count == h.count);
        CHECK(d.hlc_max == h.hlc_max && d.wall_ms == h.wall_ms && d.ctl_n == h.ctl_n && memcmp(d.inc, h.inc, 8) == 0);
    }
}

/* What the file does not tell of an entry in numbers: its context and its content. */
static void entry_parts(const char *name, struct entry *e)
{
    struct sid a = t_sid('a'), b = t_sid('b');
    if (strcmp(name, "inline") == 0) {
        ctx_raise(&e->v.ctx, &a, 4), ctx_raise(&e->v.ctx, &b, 2);
        dots_add(&e->v.except, &(struct dot){ a, 1 }), dots_add(&e->v.except, &(struct dot){ a, 3 });
        e->content = (struct content){ .type = CONTENT_INLINE, .inline_bytes = t_str("hello") };
    } else if (strcmp(name, "empty") == 0) {
        e->content = (struct content){ .type = CONTENT_INLINE, .inline_bytes = t_str("") };
    } else if (strcmp(name, "blocks") == 0) {
        ctx_raise(&e->v.ctx, &a, 1ull << 40);
        e->content = (struct content){ .type = CONTENT_BLOCKS, .class = 2, .nblocks = 3, .root = id_of(hex("blocks.3")) };
    } else if (strcmp(name, "single") == 0) {
        e->content = (struct content){ .type = CONTENT_BLOCKS, .nblocks = 1, .root = id_of(hex("entry.single.root")) };
    } else if (strcmp(name, "symlink") == 0) {
        e->content = (struct content){ .type = CONTENT_INLINE, .inline_bytes = t_str("../target") };
    } else if (strcmp(name, "tombstone") == 0) {
        ctx_raise(&e->v.ctx, &b, 128);
    } else if (strcmp(name, "snapshot") == 0) {
        ctx_raise(&e->v.ctx, &a, 4);
        ctx_raise(&e->v.ctx, &b, 2);
    } else if (strcmp(name, "note") == 0) {
        static uint8_t said[LIMIT_NOTE];
        struct note n = { .what = t_str("restored"), .path = t_str("docs"), .files = 3 };
        AUTO(buf_release) struct buf content = BUF_INIT(sizeof said);
        note_encode(&content, &n);
        memcpy(said, content.data, content.len);
        e->content = (struct content){ .type = CONTENT_INLINE, .inline_bytes = { said, content.len } };
    }
}

static void test_entries(void)
{
    static const char *const name[] = { "inline", "empty", "blocks", "single", "dir", "symlink", "tombstone", "snapshot", "note" };
    AUTO(entry_release) struct entry d = { 0 };
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        const char *n = name[i];
        AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_ENTRY);
        AUTO(entry_release) struct entry e = { .kind = (enum kind)num("entry.%s.kind", n), .path = hex("entry.%s.path", n),
                                               .v.hlc = num("entry.%s.hlc", n), .mode = (uint32_t)num("entry.%s.mode", n),
                                               .size = num("entry.%s.size", n), .mtime_ns = (int64_t)num("entry.%s.mtime_ns", n),
                                               .flags = num("entry.%s.flags", n) };
        entry_parts(n, &e);
        OK(entry_encode(&b, &e));
        SAME(b.data, b.len, hex("entry.%s.bytes", n));
        struct id leaf = merkle_leaf(b.data, b.len);
        SAME(leaf.b, ID_LEN, hex("entry.%s.leaf", n));
        OK(entry_decode(b.data, b.len, &d));
        SAME(d.content.root.b, ID_LEN, hex("entry.%s.root", n));
        CHECK(d.kind == e.kind && d.v.hlc == e.v.hlc && d.mode == e.mode && d.size == e.size && d.mtime_ns == e.mtime_ns);
        CHECK(d.flags == e.flags && d.v.ctx.n == e.v.ctx.n && d.v.except.n == e.v.except.n);
    }
}

static uint64_t u64_le(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static void test_vec(void)
{
    struct bytes s = hex("vec.streams");
    struct vec_stream stream[2];
    for (int i = 0; i < 2; i++) {
        const uint8_t *p = s.p + 40 * i;
        stream[i] = (struct vec_stream){ .known = u64_le(p + 16), .content = u64_le(p + 24) };
        memcpy(stream[i].sid.b, p, 16);
        memcpy(stream[i].tip8, p + 32, 8);
    }
    struct vec v = { .group = group, .dev = alice->dev, .ctr = num("vec.ctr"), .wall_ms = num("vec.wall_ms"), .ctl_n = num("vec.ctl_n"),
                     .ctl_hash = id_of(hex("vec.ctl_hash")), .port = (uint16_t)num("vec.port"), .fp = id_of(hex("vec.fp")),
                     .reqs = hex("vec.reqs"), .flags = num("vec.flags"), .stream = stream, .nstream = 2 };
    memcpy(v.inst, hex("vec.inst").p, 8);
    AUTO(vec_release) struct vec d = { 0 };
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BODY);
    OK(vec_encode(&b, &v, alice));
    SAME(b.data, b.len, hex("vec.blob"));
    OK(vec_decode(b.data, b.len, &d));
    CHECK(d.nstream == 2 && d.nreqs == 1 && d.ctr == v.ctr && d.flags == v.flags && d.port == v.port && id_eq(&d.fp, &v.fp));
    for (int i = 0; i < 2; i++)
        CHECK(sid_eq(&d.stream[i].sid, &stream[i].sid) && d.stream[i].known == stream[i].known
              && d.stream[i].content == stream[i].content && memcmp(d.stream[i].tip8, stream[i].tip8, 8) == 0);
}

static void test_addr_card(void)
{
    struct addr_card a = { .group = group, .dev = alice->dev, .wall_ms = num("addr.wall_ms"), .naddr = 2 }, d;
    char s[80];
    for (int i = 0; i < 2; i++) {
        text(s, "addr.%d", i);
        memcpy(a.addr[i], s, strlen(s) < sizeof a.addr[i] ? strlen(s) : 0);
    }
    AUTO(buf_release) struct buf b = BUF_INIT(2000);
    OK(addr_card_encode(&b, &a, alice));
    SAME(b.data, b.len, hex("addr.blob"));
    OK(addr_card_decode(b.data, b.len, &d));
    CHECK(memcmp(&a, &d, sizeof a) == 0);
}

/* ---- messages ---- */

/* Each head is decoded and comes out the same when encoded again; then some of its fields. */
static void test_heads(void)
{
    int seen = 0;
    struct msg m;
    for (enum msg_type t = MSG_HELLO; t <= MSG_JOIN4; t++) {
        AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_HEAD);
        if (strcmp(msg_name(t), "unknown") == 0)
            continue;
        seen++;
        struct bytes head = hex("head.%s", msg_name(t));
        OK(msg_decode(head.p, head.len, &m));
        EQ_U(m.type, t);
        EQ_U(m.req, 1000 + t);
        OK(msg_encode(&b, &m));
        SAME(b.data, b.len, head);
    }
    EQ_U(seen, 29);
}
static void decode_head(const char *name, struct msg *m)
{
    struct bytes head = hex("head.%s", name);
    OK(msg_decode(head.p, head.len, m));
}

static void test_head_fields(void)
{
    struct msg m;
    struct id root = t_id(0x31), other = t_id(0x33);
    struct sid two = t_sid(2);
    decode_head("GET_CS", &m);
    CHECK(m.get_cs.n == 3 && m.get_cs.credit == 4u << 20 && sid_eq(&m.get_cs.range[2].sid, &two));
    CHECK(m.get_cs.range[1].from == 12 && m.get_cs.range[1].to == 12 && m.get_cs.range[2].to == 300);
    decode_head("GET_TREE", &m);
    CHECK(id_eq(&m.get_tree.root, &root) && m.get_tree.nblocks == 5000 && m.get_tree.first == 4096 && m.get_tree.count == 904);
    decode_head("HAVE", &m);
    CHECK(m.have.nblocks == 5000 && m.have.first == 10 && m.have.count == 20);
    decode_head("GET_BLK", &m);
    CHECK(m.get_blk.n == 2 && m.get_blk.want[1].idx == 70000 && id_eq(&m.get_blk.want[1].id, &other));
    decode_head("BLK", &m);
    CHECK(m.blk.n == 2 && m.blk.item[0].len == 4096 && m.blk.item[1].status == BLK_BUSY);
    decode_head("ERR", &m);
    CHECK(m.err.code == MSGERR_NODATA && m.err.retry_ms == 1500 && m.err.text.len == 8);
    decode_head("GET_LIVE", &m);
    CHECK(m.get_live.from.len == 1 && m.get_live.to.len == 6 && m.get_live.cursor == 17);
    decode_head("HELLO_OK", &m);
    CHECK(m.hello.nown == 2 && m.hello.own[1].known == 1u << 20 && m.hello.port == 7447 && m.hello.caps == 3);
}

static void test_hello(void)
{
    struct msg m;
    struct hello_party self = { .dev = alice->dev }, caller = { .dev = bob->dev };
    uint8_t sig[SIG_LEN];
    memcpy(self.tr_pk, alice->tr_pk, 32);
    memcpy(caller.tr_pk, bob->tr_pk, 32);
    memcpy(caller.nonce, hex("hello_ok.caller_nonce").p, 32);
    decode_head("HELLO", &m);
    memcpy(self.nonce, m.hello.nonce, 32);
    hello_sign(sig, &group, &self, NULL, alice);
    SAME(sig, SIG_LEN, hex("hello.sig"));
    OK(hello_verify(m.hello.sig, &group, &self, NULL));
    decode_head("HELLO_OK", &m);
    hello_sign(sig, &group, &self, &caller, alice);
    SAME(sig, SIG_LEN, hex("hello_ok.sig"));
    OK(hello_verify(m.hello.sig, &group, &self, &caller));
}

static void cs_vector(const char *name, uint32_t nitems)
{
    struct bytes body = hex("%s", name);
    struct mp m;
    struct cs cs;
    struct header h;
    uint32_t n, index = 0;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CS_REPLY);
    OK(cs_body_open(body.p, body.len, &m, &n));
    OK(cs_next(&m, &cs));
    OK(mp_done(&m, name));
    OK(cs_verify(&cs, &h));
    CHECK(n == 1 && cs.nitems == nitems && h.count == 7);
    mp_put_array(&b, 1);                                  /* and the same from what was read */
    cs_put_head(&b, &cs.hdr, cs.sig, cs.nitems);
    m = cs_items(&cs);
    for (uint32_t i = 0; i < nitems; i++) {
        struct cs_item it;
        cs_item_next(&m, &index, &it);
        if (it.pruned)
            cs_put_pruned(&b, it.index, it.count, &it.hash);
        else
            cs_put_entry(&b, &it.ent);
    }
    EQ_U(index, h.count);
    SAME(b.data, b.len, body);
}

static void test_bodies(void)
{
    struct mp m;
    uint32_t n;
    struct header h[2];
    struct bytes body = hex("live");
    cs_vector("cs.whole", 7);
    cs_vector("cs.pruned", 6);
    OK(body_open(body.p, body.len, &m, &n));
    for (uint32_t i = 0; i < n; i++) {
        struct live_item it;
        OK(live_next(&m, &it));
        OK(live_verify(&it, &h[0]));
        EQ_U(it.index, i ? 6 : 2);
    }
    OK(mp_done(&m, "live"));
    body = hex("fork");
    OK(fork_verify(body.p, body.len, h));
    body = hex("hist");
    OK(body_open(body.p, body.len, &m, &n));
    EQ_U(n, 3);
    struct hist_item it = { 0 }, before;
    for (uint32_t i = 0; i < n; i++) {
        before = it;
        OK(hist_next(&m, &before, &it));
    }
    struct vec_held held = { 0 };
    struct vec_told told = { 0 }, first;
    body = hex("held");
    OK(body_open(body.p, body.len, &m, &n));
    OK(held_next(&m, &(struct vec_held){ 0 }, &held));
    CHECK(id_eq(&held.dev, &alice->dev) && held.ctr == 9);
    body = hex("told");
    OK(body_open(body.p, body.len, &m, &n));
    OK(told_next(&m, &told, &first));
    CHECK(first.vec.len == 0 && first.age_ms == 1500);
    OK(told_next(&m, &first, &told));
    struct id meaning = vec_meaning(told.vec.p, told.vec.len);
    CHECK(memcmp(meaning.b, held.meaning, sizeof held.meaning) == 0);
    struct sid two = t_sid(2);
    CHECK(sid_eq(&it.dot.sid, &two) && it.dot.seq == 1);
}

static void test_load(void)
{
    load("tests/vectors/keys.txt");
    load("tests/vectors/trees.txt");
    load("tests/vectors/records.txt");
    load("tests/vectors/messages.txt");
    group = id_of(hex("genesis.group"));
    struct sid sid = sid_make(&group, &alice->dev, (const uint8_t *)"incarnat"), want = sid_of(hex("header.first.sid"));
    CHECK(sid_eq(&sid, &want));
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    alice = t_device(1);
    bob = t_device(2);
    RUN(test_load);
    RUN(test_keys);
    RUN(test_trees);
    RUN(test_cards);
    RUN(test_genesis);
    RUN(test_ctl);
    RUN(test_headers);
    RUN(test_entries);
    RUN(test_vec);
    RUN(test_addr_card);
    RUN(test_heads);
    RUN(test_head_fields);
    RUN(test_hello);
    RUN(test_bodies);
    device_keys_free(&alice);
    device_keys_free(&bob);
    unload();
    return t_done();
}
