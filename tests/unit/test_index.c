#include "tests/unit/t_index.h"

static struct index *ix;

static int see_entry(void *arg, const struct ix_entry *e) { return t_saw(arg, (uint64_t)e->id); }
static int see_local(void *arg, const struct ix_local *l) { return t_saw(arg, (uint64_t)l->path); }
static int see_want(void *arg, const struct ix_want *w) { return t_saw(arg, (uint64_t)w->entry); }
static int see_kept(void *arg, const struct ix_kept *k) { return t_saw(arg, (uint64_t)k->id); }
static int see_header(void *arg, const struct ix_header *h) { return t_saw(arg, h->first); }
static int see_pruned(void *arg, const struct ix_pruned *p) { return t_saw(arg, p->first); }
static int see_conflict(void *arg, int64_t path) { return t_saw(arg, (uint64_t)path); }
static int see_path(void *arg, int64_t path, const char *name, size_t len, int64_t winner)
{
    struct seen *s = arg;
    (void)winner;
    snprintf(s->names + strlen(s->names), sizeof s->names - strlen(s->names), "%.*s,", (int)len, name);
    return t_saw(s, (uint64_t)path);
}
static int see_beneath(void *arg, const struct ix_local *l, const char *name, size_t len)
{
    return see_path(arg, l->path, name, len, 0);
}

static void test_kv(void)
{
    struct buf b = BUF_INIT(100);
    OK(index_begin(ix));
    FAILS(index_kv_get(ix, "k", &b), ERR_NOTFOUND, "no such row");
    OK(index_kv_put(ix, "k", "one", 3));
    OK(index_kv_put(ix, "other", "x", 1));
    OK(index_kv_put(ix, "k", "a\0b!", 4));
    OK(index_kv_get(ix, "k", &b));
    EQ_U(b.len, 4);
    EQ_MEM(b.data, "a\0b!", 4);
    OK(index_kv_put(ix, "k", NULL, 0));
    OK(index_kv_get(ix, "k", &b));
    EQ_U(b.len, 0);
    OK(index_kv_del(ix, "k"));
    OK(index_kv_del(ix, "k"));
    FAILS(index_kv_get(ix, "k", &b), ERR_NOTFOUND, "");
    OK(index_kv_get(ix, "other", &b));
    EQ_U(b.len, 1);
    OK(index_commit(ix));
    buf_release(&b);
}

static int same_stream(void *arg, const struct ix_stream *s)
{
    const struct ix_stream *want = arg;
    CHECK(want->id == s->id && sid_eq(&want->sid, &s->sid) && id_eq(&want->dev, &s->dev) && id_eq(&want->tip, &s->tip));
    EQ_U(want->known, s->known);
    EQ_MEM(want->inc, s->inc, sizeof s->inc);
    return 5;
}

static void test_streams(void)
{
    struct ix_stream s = { .dev = t_root(1), .inc = "1234567", .known = 3 };
    memset(s.sid.b, 9, SID_LEN);
    OK(index_begin(ix));
    OK(index_stream_each(ix, same_stream, NULL));   /* no row, so no call */
    OK(index_stream_add(ix, &s));
    EQ_I(index_stream_each(ix, same_stream, &s), 5);
    s.known = LIMIT_SEQ;
    s.tip = t_root(2);
    OK(index_stream_set(ix, &s));
    EQ_I(index_stream_each(ix, same_stream, &s), 5);
    FAILS(index_stream_add(ix, &s), ERR_EXISTS, "sid");
    s.id += 100;
    FAILS(index_stream_set(ix, &s), ERR_NOTFOUND, "");
    OK(index_commit(ix));   /* neither failure has spoilt it */
}

static void put_header(int64_t stream, uint64_t first, uint32_t count)
{
    uint8_t sig[SIG_LEN];
    memset(sig, (int)first, sizeof sig);
    struct ix_header h = { .stream = stream, .first = first, .count = count, .rec = t_text("record"), .sig = sig };
    OK(index_header_put(ix, &h));
}

static int same_header(void *arg, const struct ix_header *h)
{
    uint8_t sig[SIG_LEN];
    memset(sig, (int)h->first, sizeof sig);
    EQ_U(h->rec.len, 6);
    EQ_MEM(h->rec.p, "record", 6);
    EQ_MEM(h->sig, sig, sizeof sig);
    EQ_U(h->count, h->first == 1 ? 10 : h->first == 11 ? 4096 : 1);
    return see_header(arg, h);
}

#define HEADERS(from, to, count, first_one) do { \
    struct seen s = { 0 }; \
    OK(index_header_each(ix, 1, (from), (to), same_header, &s)); \
    EQ_U(s.n, (count)); \
    if (s.n) EQ_U(s.v[0], (first_one)); \
} while (0)

static void test_headers(void)
{
    OK(index_begin(ix));
    put_header(1, 1, 10);
    put_header(1, 11, 4096);
    put_header(1, 4107, 1);
    put_header(2, 5, 1);
    HEADERS(1, 1, 1, 1);
    HEADERS(10, 10, 1, 1);
    HEADERS(10, 11, 2, 1);
    HEADERS(11, 11, 1, 11);
    HEADERS(4106, 4106, 1, 11);
    HEADERS(4106, 4107, 2, 11);
    HEADERS(4107, UINT64_MAX, 1, 4107);
    HEADERS(4108, UINT64_MAX, 0, 0);
    HEADERS(UINT64_MAX, UINT64_MAX, 0, 0);
    HEADERS(0, UINT64_MAX, 3, 1);
    HEADERS(0, 0, 0, 0);
    struct ix_header again = { .stream = 1, .first = 11, .count = 1, .rec = t_text("other"), .sig = (const uint8_t[SIG_LEN]){ 0 } };
    FAILS(index_header_put(ix, &again), ERR_EXISTS, "header");
    HEADERS(11, 11, 1, 11);
    OK(index_commit(ix));
}

static void put_pruned(uint64_t first, uint32_t count)
{
    struct ix_pruned p = { .stream = 1, .first = first, .count = count, .hash = t_root(first) };
    OK(index_pruned_put(ix, &p));
}

static void test_pruned(void)
{
    struct seen s = { 0 };
    OK(index_begin(ix));
    put_pruned(1, 1);
    put_pruned(5, 1);
    put_pruned(6, 2);
    put_pruned(8, 1);
    put_pruned(9, 4);
    put_pruned(5, 4);   /* takes the place of 5, 6..7 and 8 */
    OK(index_pruned_each(ix, 1, 0, UINT64_MAX, see_pruned, &s));
    EQ_U(s.n, 3);
    EQ_MEM(s.v, ((uint64_t[]){ 1, 5, 9 }), 3 * sizeof *s.v);
    s.n = 0;
    OK(index_pruned_each(ix, 1, 8, 9, see_pruned, &s));
    EQ_U(s.n, 2);
    s.n = 0;
    OK(index_pruned_each(ix, 1, 2, 4, see_pruned, &s));
    OK(index_pruned_each(ix, 1, 13, 100, see_pruned, &s));
    OK(index_pruned_each(ix, 2, 0, 100, see_pruned, &s));
    EQ_U(s.n, 0);
    OK(index_commit(ix));
}

static void test_paths(void)
{
    int64_t id, again, winner, max, before;
    struct buf name = BUF_INIT(LIMIT_PATH);
    OK(index_path_max(ix, &before));
    OK(index_begin(ix));
    FAILS(index_path_id(ix, "a/b", 3, false, &id), ERR_NOTFOUND, "no such path");
    OK(index_path_id(ix, "a/b", 3, true, &id));
    OK(index_path_id(ix, "a/b", 3, true, &again));
    EQ_I(id, again);
    OK(index_path_id(ix, "a/b", 3, false, &again));
    EQ_I(id, again);
    OK(index_path_get(ix, id, &name, &winner));
    EQ_I(winner, 0);
    EQ_U(name.len, 3);
    EQ_MEM(name.data, "a/b", 3);
    OK(index_path_set_winner(ix, id, 42));
    OK(index_path_get(ix, id, NULL, &winner));
    EQ_I(winner, 42);
    OK(index_path_get(ix, id, &name, NULL));
    EQ_U(name.len, 3);
    OK(index_path_max(ix, &max));
    EQ_I(max, before + 1);
    FAILS(index_path_set_winner(ix, max + 1, 1), ERR_NOTFOUND, "");
    FAILS(index_path_get(ix, max + 1, NULL, NULL), ERR_NOTFOUND, "");
    OK(index_commit(ix));
    buf_release(&name);
}

#define PATHS(dir, live, expected) do { \
    struct seen t_s = { 0 }; \
    OK(index_path_each(x, (dir), strlen(dir), (live), see_path, &t_s)); \
    EQ_S(t_s.names, (expected)); \
} while (0)

/* Names that lie close to the borders of a folder in byte order. */
static void test_beneath(void)
{
    static const char *const names[] = { "d", "d/", "d/a", "d/a/b", "d/\xff\xff", "d0", "d.", "d-x", "dd/a", "\xff\xff\xff", "e" };
    struct index *x = t_index(":memory:");
    OK(index_begin(x));
    for (size_t i = 1; i <= sizeof names / sizeof *names; i++) {
        int64_t path = t_path(x, names[i - 1]);
        enum kind kind = i == 4 ? KIND_TOMBSTONE : i == 1 ? KIND_DIR : i == 5 ? KIND_SYMLINK : KIND_FILE;
        struct ix_entry e = t_entry(x, 1, i, path, kind, 10 * i);
        if (i != 8)
            OK(index_path_set_winner(x, path, e.id));
        struct ix_local l = { .path = path, .entry = e.id, .stamp = { .kind = STAMP_FILE } };
        if (i != 3)
            OK(index_local_put(x, &l));
    }
    PATHS("d", false, "d/a,d/a/b,d/\xff\xff,");
    PATHS("d", true, "d/a,d/\xff\xff,");
    PATHS("d/a", false, "d/a/b,");
    PATHS("dd", false, "dd/a,");
    PATHS("nothing", false, "");
    PATHS("", false, "d,d-x,d.,d/,d/a,d/a/b,d/\xff\xff,d0,dd/a,e,\xff\xff\xff,");
    PATHS("", true, "d,d.,d/,d/a,d/\xff\xff,d0,dd/a,e,\xff\xff\xff,");
    struct seen s = { 0 };
    OK(index_local_beneath(x, "d", 1, see_beneath, &s));
    EQ_S(s.names, "d/a/b,d/\xff\xff,");
    s = (struct seen){ .limit = 1 };
    EQ_I(index_local_beneath(x, "", 0, see_beneath, &s), 77);
    EQ_S(s.names, "d,");
    uint64_t files, bytes;
    OK(index_totals(x, &files, &bytes));   /* all but the folder, the tombstone, the link and the one without a winner */
    EQ_U(files, 7);
    EQ_U(bytes, 10 * (2 + 3 + 6 + 7 + 9 + 10 + 11));
    index_close(&x);
}

static void check_entry(const struct ix_entry *a, const struct ix_entry *b)
{
    CHECK(a->id == b->id && a->stream == b->stream && a->path == b->path && a->kind == b->kind && a->live == b->live);
    CHECK(a->seq == b->seq && a->hlc == b->hlc && a->size == b->size && id_eq(&a->root, &b->root));
}

static void test_entries(void)
{
    struct buf raw = BUF_INIT(LIMIT_ENTRY);
    struct ix_entry got;
    OK(index_begin(ix));
    struct ix_entry a = t_entry(ix, 3, 1, 70, KIND_FILE, 1), b = t_entry(ix, 3, 2, 71, KIND_TOMBSTONE, 2);
    struct ix_entry c = t_entry(ix, 3, 3, 70, KIND_DIR, 3), d = t_entry(ix, 4, 1, 70, KIND_SYMLINK, 1);
    OK(index_entry_get(ix, a.id, &got, &raw));
    check_entry(&a, &got);
    EQ_U(got.raw.len, 9);
    EQ_MEM(got.raw.p, "the entry", 9);
    OK(index_entry_at(ix, 3, 2, &got, NULL));
    check_entry(&b, &got);
    EQ_U(got.raw.len, 0);
    b.live = false;
    OK(index_entry_set_live(ix, b.id, false));
    OK(index_entry_at(ix, 3, 2, &got, &raw));
    check_entry(&b, &got);
    FAILS(index_entry_at(ix, 3, 4, &got, NULL), ERR_NOTFOUND, "");
    FAILS(index_entry_at(ix, 3, UINT64_MAX, &got, NULL), ERR_NOTFOUND, "");
    FAILS(index_entry_get(ix, d.id + 1, &got, NULL), ERR_NOTFOUND, "");
    FAILS(index_entry_set_live(ix, d.id + 1, true), ERR_NOTFOUND, "");
    got = c;
    FAILS(index_entry_put(ix, &got), ERR_EXISTS, "entry.seq");
    struct seen s = { 0 };
    OK(index_entry_each_of_path(ix, 70, see_entry, &s));
    EQ_U(s.n, 3);
    EQ_MEM(s.v, ((int64_t[]){ d.id, c.id, a.id }), 3 * sizeof *s.v);
    s.n = 0;
    OK(index_entry_each_of_stream(ix, 3, 2, UINT64_MAX, see_entry, &s));
    EQ_U(s.n, 2);
    EQ_MEM(s.v, ((int64_t[]){ b.id, c.id }), 2 * sizeof *s.v);
    s.n = 0;
    OK(index_entry_recent(ix, 2, see_entry, &s));
    EQ_U(s.n, 2);
    EQ_MEM(s.v, ((int64_t[]){ d.id, c.id }), 2 * sizeof *s.v);
    OK(index_commit(ix));
    buf_release(&raw);
}

/* The greatest entry there is, and one byte more than the caller takes. */
static void test_entry_sizes(void)
{
    struct buf raw = BUF_INIT(LIMIT_ENTRY), small = BUF_INIT(LIMIT_ENTRY - 1);
    uint8_t *bytes = xcalloc(1, LIMIT_ENTRY);
    struct ix_entry e = { .stream = 5, .seq = 1, .path = 1, .kind = KIND_FILE, .raw = { bytes, LIMIT_ENTRY } }, got;
    bytes[LIMIT_ENTRY - 1] = 7;
    OK(index_begin(ix));
    OK(index_entry_put(ix, &e));
    OK(index_commit(ix));
    OK(index_entry_get(ix, e.id, &got, &raw));
    EQ_U(raw.len, LIMIT_ENTRY);
    EQ_MEM(raw.data, bytes, LIMIT_ENTRY);
    FAILS(index_entry_get(ix, e.id, &got, &small), ERR_CORRUPT, "longer");
    OK(index_entry_get(ix, e.id, &got, NULL));
    free(bytes);
    buf_release(&raw);
    buf_release(&small);
}

static void test_local(void)
{
    struct ix_local got;
    OK(index_begin(ix));
    struct ix_entry e = t_entry(ix, 6, 1, 80, KIND_FILE, 600), twin = t_entry(ix, 6, 2, 81, KIND_FILE, 600);
    struct ix_local l = { .path = 80, .entry = e.id, .settled = true, .stamp = { .kind = STAMP_SYMLINK, .mode = 0751,
                          .dev = UINT64_MAX, .ino = UINT64_MAX - 1, .size = 3, .mtime_ns = INT64_MIN, .ctime_ns = INT64_MAX } };
    OK(index_local_put(ix, &l));
    OK(index_local_get(ix, 80, &got));
    CHECK(got.path == 80 && got.entry == e.id && got.settled && memcmp(&got.stamp, &l.stamp, sizeof l.stamp) == 0);
    l.settled = false;
    OK(index_local_put(ix, &l));
    OK(index_local_get(ix, 80, &got));
    CHECK(!got.settled);
    l.path = 81;
    l.entry = twin.id;
    OK(index_local_put(ix, &l));
    struct seen s = { 0 };
    OK(index_local_by_root(ix, &e.root, see_local, &s));
    EQ_U(s.n, 2);
    l.entry = e.id;   /* an entry of another path: not this content */
    OK(index_local_put(ix, &l));
    s.n = 0;
    OK(index_local_by_root(ix, &e.root, see_local, &s));
    EQ_U(s.n, 1);
    EQ_U(s.v[0], 80);
    OK(index_local_by_root(ix, &ID_NONE, see_local, &s));
    EQ_U(s.n, 1);
    s.n = 0;
    OK(index_local_each(ix, see_local, &s));
    EQ_MEM(s.v, ((uint64_t[]){ 80, 81 }), 2 * sizeof *s.v);
    OK(index_local_del(ix, 80));
    OK(index_local_del(ix, 80));
    FAILS(index_local_get(ix, 80, &got), ERR_NOTFOUND, "");
    OK(index_commit(ix));
}

/* Two roots with the same first 8 bytes share a place in the lookup. */
static void test_same_prefix(void)
{
    struct ix_entry e = { .stream = 8, .seq = 1, .path = 90, .kind = KIND_FILE, .root = t_root(800), .raw = t_text("x") };
    struct id other = e.root;
    other.b[31] ^= 1;
    struct seen s = { 0 };
    OK(index_begin(ix));
    OK(index_entry_put(ix, &e));
    struct ix_local l = { .path = 90, .entry = e.id, .stamp = { .kind = STAMP_FILE } };
    struct ix_want w = t_want(&e, WANT_INSTALL);
    OK(index_local_put(ix, &l));
    OK(index_want_put(ix, &w));
    OK(index_local_by_root(ix, &other, see_local, &s));
    OK(index_want_by_root(ix, &other, see_want, &s));
    EQ_U(s.n, 0);
    OK(index_local_by_root(ix, &e.root, see_local, &s));
    OK(index_want_by_root(ix, &e.root, see_want, &s));
    EQ_U(s.n, 2);
    OK(index_want_del(ix, e.id));
    OK(index_commit(ix));
}

static void test_want(void)
{
    uint64_t min;
    struct ix_want got;
    OK(index_begin(ix));
    struct ix_entry e[3];
    for (size_t i = 0; i < 3; i++) {
        e[i] = t_entry(ix, 7, i + 1, 60 + (i == 2), i == 1 ? KIND_TOMBSTONE : KIND_FILE, 100 + i);
        struct ix_want w = t_want(&e[i], i == 2 ? WANT_KEEP : WANT_INSTALL);
        OK(index_want_put(ix, &w));
    }
    t_totals(ix, 3, 303);
    OK(index_want_get(ix, e[2].id, &got));
    CHECK(got.entry == e[2].id && got.path == 61 && got.stream == 7 && got.seq == 3 && got.size == 102);
    CHECK(got.role == WANT_KEEP && got.kind == KIND_FILE && id_eq(&got.root, &e[2].root));
    struct ix_want w = t_want(&e[1], WANT_KEEP);
    w.size = 1;
    OK(index_want_put(ix, &w));
    OK(index_want_get(ix, e[1].id, &got));
    EQ_I(got.role, WANT_KEEP);
    t_totals(ix, 3, 203);
    struct seen s = { 0 };
    OK(index_want_each(ix, e[0].id, see_want, &s));
    EQ_U(s.n, 2);
    EQ_MEM(s.v, ((int64_t[]){ e[1].id, e[2].id }), 2 * sizeof *s.v);
    OK(index_want_of_path(ix, 60, see_want, &s));
    EQ_U(s.n, 4);
    OK(index_want_by_root(ix, &e[2].root, see_want, &s));
    EQ_U(s.n, 5);
    EQ_U(s.v[4], e[2].id);
    OK(index_want_min(ix, 7, &min));
    EQ_U(min, 1);
    OK(index_want_del(ix, e[0].id));
    OK(index_want_del(ix, e[0].id));
    OK(index_want_min(ix, 7, &min));
    EQ_U(min, 2);
    FAILS(index_want_min(ix, 70, &min), ERR_NOTFOUND, "");
    FAILS(index_want_get(ix, e[0].id, &got), ERR_NOTFOUND, "");
    t_totals(ix, 2, 103);
    OK(index_commit(ix));
}

static int see_block(void *arg, const struct id *root, uint32_t idx)
{
    struct id one = t_root(1001);
    return t_saw(arg, (uint64_t)idx * 2 + (uint64_t)id_eq(root, &one));
}

static void test_blocks(void)
{
    uint8_t refs[3 * 36];
    struct id block[3] = { t_root(1), t_root(2), t_root(1) }, one = t_root(1001), two = t_root(1002), unknown = t_root(3);
    for (size_t i = 0; i < 3; i++) {
        memcpy(refs + 36 * i, block[i].b, 32);
        memset(refs + 36 * i + 32, (int)i, 4);
    }
    struct buf b = BUF_INIT(sizeof refs);
    OK(index_begin(ix));
    OK(index_tree_put(ix, &one, refs, 3));
    OK(index_tree_put(ix, &two, refs + 36, 2));
    OK(index_tree_put(ix, &one, refs + 36, 2));   /* present is fine, and stays */
    OK(index_commit(ix));
    OK(index_tree_get(ix, &one, &b));
    EQ_U(b.len, sizeof refs);
    EQ_MEM(b.data, refs, sizeof refs);
    FAILS(index_tree_get(ix, &unknown, &b), ERR_NOTFOUND, "");
    struct seen s = { 0 };
    OK(index_block_find(ix, &block[0], see_block, &s));
    EQ_U(s.n, 3);
    EQ_MEM(s.v, ((uint64_t[]){ 0 * 2 + 1, 2 * 2 + 1, 1 * 2 + 0 }), 3 * sizeof *s.v);
    OK(index_block_find(ix, &unknown, see_block, &s));
    EQ_U(s.n, 3);
    buf_release(&b);
}

static int same_kept(void *arg, const struct ix_kept *k)
{
    const struct ix_kept *want = arg;
    CHECK(k->id == want->id && k->path == want->path && k->entry == want->entry && id_eq(&k->root, &want->root));
    CHECK(k->size == want->size && k->kept_ms == want->kept_ms);
    EQ_S(k->name, want->name);
    return 6;
}

static void test_kept(void)
{
    struct ix_kept young = { .path = 1, .entry = 2, .root = t_root(1), .size = 3, .kept_ms = 2000, .name = "ab12" };
    struct ix_kept old = { .path = 1, .root = t_root(1), .kept_ms = 1000, .name = "" }, none = { .kept_ms = 3000, .name = "z" };
    OK(index_begin(ix));
    OK(index_kept_put(ix, &young));
    OK(index_kept_put(ix, &old));
    OK(index_kept_put(ix, &none));
    EQ_I(index_kept_each(ix, same_kept, &old), 6);
    OK(index_kept_del(ix, old.id));
    OK(index_kept_del(ix, old.id));
    EQ_I(index_kept_by_root(ix, &young.root, same_kept, &young), 6);
    struct seen s = { 0 };
    OK(index_kept_by_root(ix, &ID_NONE, see_kept, &s));
    EQ_U(s.n, 0);
    OK(index_kept_nameless(ix, none.id, see_kept, &s));
    EQ_U(s.n, 0);
    EQ_I(index_kept_nameless(ix, 0, same_kept, &none), 6);
    OK(index_kept_each(ix, see_kept, &s));
    EQ_MEM(s.v, ((int64_t[]){ young.id, none.id }), 2 * sizeof *s.v);
    OK(index_commit(ix));
}

static void test_conflicts(void)
{
    uint64_t n;
    struct seen s = { 0 };
    OK(index_begin(ix));
    for (int i = 0; i < 3; i++)
        OK(index_conflict_set(ix, i == 1 ? 8 : 9, true));
    OK(index_conflict_set(ix, 7, false));
    OK(index_conflict_count(ix, &n));
    EQ_U(n, 2);
    OK(index_conflict_each(ix, see_conflict, &s));
    EQ_MEM(s.v, ((uint64_t[]){ 8, 9 }), 2 * sizeof *s.v);
    OK(index_conflict_set(ix, 8, false));
    OK(index_conflict_count(ix, &n));
    EQ_U(n, 1);
    OK(index_commit(ix));
}

int main(void)
{
    struct id group = t_root(0);
    if (index_open(":memory:", &group, false, &ix) != 0)
        return 1;
    RUN(test_kv);
    RUN(test_streams);
    RUN(test_headers);
    RUN(test_pruned);
    RUN(test_paths);
    RUN(test_beneath);
    RUN(test_entries);
    RUN(test_entry_sizes);
    RUN(test_local);
    RUN(test_same_prefix);
    RUN(test_want);
    RUN(test_blocks);
    RUN(test_kept);
    RUN(test_conflicts);
    index_close(&ix);
    return t_done();
}
