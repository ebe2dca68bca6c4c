/* Who owns which block, what owners are worth, and what is given of an unfinished download. */
#include "node/pull_priv.h"
#include "tests/unit/t.h"

enum { DEVICES = 8, UNITS = 4000 };

static struct id device(unsigned i)
{
    char name[16];
    int n = snprintf(name, sizeof name, "device %u", i);
    return id_hash(name, (size_t)n);
}

static int heaviest(unsigned without, const struct id *root, uint32_t unit)
{
    int best = -1;
    uint64_t most = 0;
    for (unsigned i = 0; i < DEVICES; i++) {
        struct id dev = device(i);
        uint64_t w = share_weight(&dev, root, unit);
        if (i == without || (best >= 0 && w <= most))
            continue;
        most = w;
        best = (int)i;
    }
    return best;
}

/* All devices compute it: docs/PROTOCOL.md. The expected values are from its text, by another program. */
static void test_weights(void)
{
    struct id dev = { { 0 } }, root = { { 0 } };
    for (int i = 0; i < ID_LEN; i++) {
        dev.b[i] = (uint8_t)(i + 1);
        root.b[i] = (uint8_t)(0x40 + i);
    }
    EQ_U(share_weight(&dev, &root, 0), 0x0d41f6034a3eed04u);
    EQ_U(share_weight(&dev, &root, 1000), 0x87315dd5bc51385du);
    EQ_U(share_unit(2), 1);
    EQ_U(share_unit(65536), 1);
    EQ_U(share_unit(65537), 2);
    EQ_U(share_unit(LIMIT_BLOCKS), 256);
}

static void test_equal_shares(void)
{
    struct id root = id_hash("content", 7);
    unsigned owned[DEVICES] = { 0 };
    for (uint32_t u = 0; u < UNITS; u++)
        owned[heaviest(DEVICES, &root, u)]++;
    for (int i = 0; i < DEVICES; i++)
        CHECK(owned[i] > UNITS / DEVICES * 8 / 10 && owned[i] < UNITS / DEVICES * 12 / 10);
}

/* When one goes, nothing changes but what it owned: the others share that. */
static void test_one_goes(void)
{
    struct id root = id_hash("content", 7);
    unsigned heir[DEVICES] = { 0 };
    for (uint32_t u = 0; u < UNITS; u++) {
        int before = heaviest(DEVICES, &root, u), after = heaviest(3, &root, u);
        if (before != 3)
            EQ_I(after, before);
        else
            heir[after]++;
    }
    for (int i = 0; i < DEVICES; i++)
        CHECK(i == 3 ? heir[i] == 0 : heir[i] > UNITS / DEVICES / DEVICES / 2);
}

static void test_owner_that_has_nothing(void)
{
    struct pull p = { .freeing = true };     /* no timers */
    struct source s = { 0 };
    uint64_t now = loop_now();
    share_stalled(&p, &s, false);
    uint64_t first = s.unshared_until;
    CHECK(first >= now + 1000 && first <= loop_now() + 1000 && p.share_changed >= now);
    share_stalled(&p, &s, true);             /* the other requests that it had: one pause */
    EQ_U(s.unshared_until, first);
    s.unshared_until = 1;
    share_stalled(&p, &s, true);
    CHECK(s.unshared_until >= now + 2000);
}

static void test_owner_that_is_slow(void)
{
    struct pull p = { .freeing = true };
    struct source s = { .stalls = 3 };
    share_helped(&s);
    EQ_U(s.stalls, 0);
    share_stalled(&p, &s, false);
    EQ_U(s.unshared_until, 0);
    share_stalled(&p, &s, true);             /* it does not know what it is asked for */
    CHECK(s.unshared_until > 0);
}

/* ---- unfinished downloads ---- */

static struct pull p;
static struct item it;
static struct id ids[2];

static int part(uint32_t idx, const struct id *id, struct serve_part *out)
{
    return share_part(&p, &(struct msg_blk_want){ .root = it.ent.content.root, .idx = idx, .id = *id }, out);
}

static void begin(uint32_t nblocks)
{
    static uint8_t have[1];
    static uint64_t offset[2] = { 0, 1000 };
    static char path[] = "file";
    it = (struct item){ .way = WAY_FETCH, .state = ITEM_BLOCKS, .have = have, .offset = offset, .tmp = "d-1", .path = path, .len = 4 };
    it.ent.content = (struct content){ .nblocks = nblocks };
    it.ent.size = 1500;
    it.list = (struct buf)BUF_INIT(2 * BLOCK_REF);
    have[0] = 0;
    for (int i = 0; i < 2; i++) {
        uint8_t ref[BLOCK_REF];
        ids[i] = device((unsigned)i);
        block_ref_put(ref, &(struct block_ref){ ids[i], i ? 500 : 1000 });
        buf_add(&it.list, ref, sizeof ref);
    }
    it.ent.content.root = nblocks == 1 ? ids[0] : block_root(it.list.data, 2);
    p = (struct pull){ .freeing = true };
    items_add(&p.all, &it);
}

static void test_block_of_a_download(void)
{
    struct serve_part out;
    begin(2);
    EQ_I(part(1, &ids[1], &out), ERR_AGAIN);
    it.have[0] = 2;
    OK(part(1, &ids[1], &out));
    EQ_S(out.tmp, "d-1");
    CHECK(out.off == 1000 && out.len == 500 && !out.path);
    EQ_I(part(0, &ids[0], &out), ERR_AGAIN);
    EQ_I(part(0, &ids[1], &out), ERR_NOTFOUND);
    EQ_I(part(2, &ids[1], &out), ERR_NOTFOUND);
    it.state = ITEM_PLACING;
    OK(part(0, &ids[0], &out));
    CHECK(out.pathlen == 4 && memcmp(out.path, "file", 4) == 0);
    buf_release(&it.list);
}

static void test_no_download(void)
{
    struct serve_part out;
    struct id other = device(9);
    begin(2);
    EQ_I(share_part(&p, &(struct msg_blk_want){ .root = other, .id = other }, &out), ERR_NOTFOUND);
    it.state = ITEM_LIST;
    EQ_I(part(0, &ids[0], &out), ERR_AGAIN);
    it.state = ITEM_DELAYED;                 /* the disk is full, or so */
    EQ_I(part(0, &ids[0], &out), ERR_NOTFOUND);
    it.state = ITEM_BLOCKS;
    it.cancelled = true;
    EQ_I(part(0, &ids[0], &out), ERR_NOTFOUND);
    it.cancelled = false;
    it.way = WAY_COPY;
    EQ_I(part(0, &ids[0], &out), ERR_NOTFOUND);
    buf_release(&it.list);
}

static void test_one_block(void)
{
    struct serve_part out;
    begin(1);
    it.have[0] = 1;                          /* just being written, to a file that has no name yet */
    EQ_I(part(0, &ids[0], &out), ERR_AGAIN);
    it.state = ITEM_READY;
    OK(part(0, &ids[0], &out));
    CHECK(out.off == 0 && out.len == 1500 && !out.path);
    buf_release(&it.list);
}

int main(void)
{
    RUN(test_weights);
    RUN(test_equal_shares);
    RUN(test_one_goes);
    RUN(test_owner_that_has_nothing);
    RUN(test_owner_that_is_slow);
    RUN(test_block_of_a_download);
    RUN(test_no_download);
    RUN(test_one_block);
    return t_done();
}
