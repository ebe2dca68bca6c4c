/* Bodies of messages. The first byte selects: 0 change sets, 1 live items, 2 block list, 3 history, 4 proof of a fork, 5 list of
 * signed blobs, 7 vectors that are held, 8 vectors that are told, 6 the items of one change set (behind two bytes, its number of leaves), for which a header is signed here: a fuzzer
 * cannot guess a root and a signature. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/msg.h"
#include "tests/fuzz/alice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every item of a verified change set is inside it, and entries decode or are refused. */
static void read_items(const struct cs *cs, const struct header *h)
{
    static struct entry e;
    struct mp m = cs_items(cs);
    uint32_t index = 0;
    for (uint32_t i = 0; i < cs->nitems; i++) {
        struct cs_item it;
        cs_item_next(&m, &index, &it);
        assert(!m.failed && it.index < h->count && it.count >= 1 && it.index + it.count == index);
        assert(it.pruned || it.ent.len > 0);
        if (!it.pruned && entry_decode(it.ent.p, it.ent.len, &e) == 0 && entry_place(&e, h, it.index) == 0)
            assert(e.v.dot.seq == h->first + it.index && !merge_supersedes(&e.v, &e.v));
    }
    assert(mp_done(&m, "items") == 0 && index == h->count);
}

static void try_cs(const uint8_t *p, size_t n)
{
    struct mp m;
    struct cs cs;
    struct header h;
    uint32_t count;
    int code = cs_body_open(p, n, &m, &count);
    for (uint32_t i = 0; i < count && code == 0; i++) {
        code = cs_next(&m, &cs);
        if (code == 0 && cs_verify(&cs, &h) == 0)
            read_items(&cs, &h);
    }
    if (code == 0)
        assert(mp_done(&m, "CS") == 0);
}

static void try_live(const uint8_t *p, size_t n)
{
    struct mp m;
    struct live_item it;
    struct header h;
    uint32_t count;
    int code = body_open(p, n, &m, &count);
    for (uint32_t i = 0; i < count && code == 0; i++) {
        code = live_next(&m, &it);
        if (code == 0 && live_verify(&it, &h) == 0)
            assert(it.index < h.count && it.nproof <= MERKLE_PROOF_MAX);
    }
}

static void try_tree(const uint8_t *p, size_t n)
{
    uint32_t nblocks = (uint32_t)(n / BLOCK_REF);
    if (nblocks == 0)
        return;
    uint64_t size = 0;
    bool good = true;
    for (uint32_t i = 0; i < nblocks; i++) {
        struct block_ref r;
        uint8_t again[BLOCK_REF];
        block_ref_get(p + (size_t)i * BLOCK_REF, &r);
        block_ref_put(again, &r);
        assert(memcmp(again, p + (size_t)i * BLOCK_REF, BLOCK_REF) == 0);
        good = good && r.len >= 1 && r.len <= LIMIT_BLOCK;
        size += r.len;
    }
    struct id root = block_root(p, nblocks);
    assert((block_list_check(p, nblocks, &root, size) == 0) == good);
    assert(block_list_check(p, nblocks, &root, size + 1) != 0);
    root.b[n % ID_LEN] ^= 1;
    assert(block_list_check(p, nblocks, &root, size) != 0);
}

static void try_hist(const uint8_t *p, size_t n)
{
    struct mp m;
    struct hist_item it = { 0 }, before;
    uint32_t count;
    int code = body_open(p, n, &m, &count);
    for (uint32_t i = 0; i < count && code == 0; i++) {
        before = it;
        code = hist_next(&m, &before, &it);
        assert(code != 0 || dot_cmp(&before.dot, &it.dot) < 0);
    }
}

static void try_held(const uint8_t *p, size_t n)
{
    struct mp m;
    struct vec_held it = { 0 }, before;
    uint32_t count;
    int code = body_open(p, n, &m, &count);
    for (uint32_t i = 0; i < count && code == 0; i++) {
        before = it;
        code = held_next(&m, &before, &it);
        assert(code != 0 || id_cmp(&before.dev, &it.dev) < 0);
    }
}

static void try_told(const uint8_t *p, size_t n)
{
    struct mp m;
    struct vec_told it = { 0 }, before;
    struct vec v;
    uint32_t count;
    int code = body_open(p, n, &m, &count);
    for (uint32_t i = 0; i < count && code == 0; i++) {
        before = it;
        code = told_next(&m, &before, &it);
        assert(code != 0 || (it.age_ms <= MSG_AGE_MAX_MS && id_cmp(&before.dev, &it.dev) < 0));
        if (code == 0 && vec_decode(it.vec.p, it.vec.len, &v) == 0) {
            (void)vec_meaning(it.vec.p, it.vec.len);
            vec_release(&v);
        }
    }
}

static void try_fork(const uint8_t *p, size_t n)
{
    struct header h[2];
    if (fork_verify(p, n, h) == 0)
        assert(sid_eq(&h[0].sid, &h[1].sid) && !id_eq(&h[0].hash, &h[1].hash));
}

static void try_blobs(const uint8_t *p, size_t n)
{
    struct mp m;
    uint32_t count;
    struct ctl c;
    struct addr_card a;
    if (body_open(p, n, &m, &count) != 0)
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct bytes blob = mp_skip(&m);
        assert(!m.failed);
        (void)!ctl_decode(blob.p, blob.len, &c);
        (void)!addr_card_decode(blob.p, blob.len, &a);
    }
    assert(mp_done(&m, "blobs") == 0);
}

/* The root that these items lead to, if they have the shape of `count` leaves. */
static int items_root(const struct cs *cs, uint32_t count, struct id *root)
{
    struct mp m = cs_items(cs);
    AUTOFREE struct merkle_item *item = xcalloc(cs->nitems, sizeof *item);
    uint32_t index = 0;
    size_t bytes = 0;
    for (uint32_t i = 0; i < cs->nitems && !m.failed; i++) {
        struct cs_item it;
        cs_item_next(&m, &index, &it);
        item[i] = (struct merkle_item){ it.index, it.count, it.hash };
        bytes += it.ent.len;
    }
    if (m.failed || bytes > LIMIT_CS_BYTES)
        return ERR_BAD;
    return merkle_root_pruned(item, cs->nitems, count, root);
}

static void try_items(const uint8_t *p, size_t n)
{
    struct header h = { .first = 1, .hlc_max = RECORD_HLC_MAX, .count = n >= 2 ? (uint32_t)p[0] << 8 | p[1] : 0 }, got;
    if (n < 3 || h.count == 0 || h.count > LIMIT_CS_COUNT || mp_check(p + 2, n - 2) != 0)
        return;
    struct mp m = mp_reader(p + 2, n - 2);
    struct cs cs = { .items = { p + 2, n - 2 }, .nitems = mp_array(&m, LIMIT_CS_COUNT) };
    if (m.failed || cs.nitems == 0)
        return;
    h.dev = alice()->dev;
    h.group = id_hash("group", 5);
    h.root = h.group;
    int shape = items_root(&cs, h.count, &h.root);
    AUTO(buf_release) struct buf hdr = BUF_INIT(LIMIT_HEAD);
    uint8_t sig[SIG_LEN];
    int code = header_encode(&hdr, sig, &h, alice());
    assert(code == 0);
    cs.hdr = (struct bytes){ hdr.data, hdr.len };
    cs.sig = sig;
    code = cs_verify(&cs, &got);
    assert((code == 0) == (shape == 0));
    if (code == 0)
        read_items(&cs, &got);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const kinds[])(const uint8_t *p, size_t n) = { try_cs, try_live, try_tree, try_hist, try_fork, try_blobs, try_items,
                                                                   try_held, try_told };
    if (size > 0 && size <= LIMIT_BODY && data[0] < sizeof kinds / sizeof *kinds) {
        (void)alice();
        kinds[data[0]](data + 1, size - 1);
    }
    return 0;
}
