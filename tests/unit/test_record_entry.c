/* Entries: what one version of one path may say. */
#include "proto/note.h"
#include "tests/unit/t_record.h"

enum { KIND, PATH, CTX, EXCEPT, HLC, MODE, SIZE, MTIME, CONTENT, ATTRS, FLAGS };

static void dots_raw(struct buf *b, size_t n, const char *sids, const uint64_t *seq)
{
    mp_put_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mp_put_array(b, 2);
        mp_put_bin(b, t_sid((uint8_t)sids[i]).b, SID_LEN);
        mp_put_u64(b, seq[i]);
    }
}
static void inline_raw(struct buf *b, const char *s, size_t len)
{
    mp_put_array(b, 2);
    mp_put_u64(b, 0);
    mp_put_bin(b, s, len);
}
static void blocks_raw(struct buf *b, uint64_t alg, uint64_t class, uint64_t nblocks, const struct id *root)
{
    mp_put_array(b, 4);
    mp_put_u64(b, alg);
    mp_put_u64(b, class);
    mp_put_u64(b, nblocks);
    mp_put_bin(b, root->b, ID_LEN);
}

/* A file of 5 bytes inline. */
static void file_make(struct shape *s)
{
    mp_put_u64(shape_add(s), KIND_FILE);
    mp_put_bin(shape_add(s), "dir/file", 8);
    dots_raw(shape_add(s), 2, "ab", (uint64_t[]){ 4, 2 });
    dots_raw(shape_add(s), 2, "aa", (uint64_t[]){ 1, 3 });
    mp_put_u64(shape_add(s), 99);
    mp_put_u64(shape_add(s), 0640);
    mp_put_u64(shape_add(s), 5);
    mp_put_i64(shape_add(s), -1);
    inline_raw(shape_add(s), "hello", 5);
    mp_put_nil(shape_add(s));
    mp_put_u64(shape_add(s), 0);
}
/* A file of 10 MB in 100 blocks. */
static void blocks_make(struct shape *s)
{
    struct id root = t_id(7);
    file_make(s);
    mp_put_u64(shape_set(s, SIZE), 10000000);
    blocks_raw(shape_set(s, CONTENT), 1, 0, 100, &root);
}
static void link_make(struct shape *s)
{
    file_make(s);
    mp_put_u64(shape_set(s, KIND), KIND_SYMLINK);
}
static void dir_make(struct shape *s)
{
    file_make(s);
    mp_put_u64(shape_set(s, KIND), KIND_DIR);
    mp_put_u64(shape_set(s, SIZE), 0);
    mp_put_nil(shape_set(s, CONTENT));
}
static void stone_make(struct shape *s)
{
    dir_make(s);
    mp_put_u64(shape_set(s, KIND), KIND_TOMBSTONE);
    mp_put_u64(shape_set(s, MODE), 0);
}

static void snapshot_make(struct shape *s)
{
    stone_make(s);
    mp_put_u64(shape_set(s, KIND), KIND_SNAPSHOT);
    mp_put_bin(shape_set(s, PATH), ".lanyard/snapshots/name", 23);
    mp_put_array(shape_set(s, EXCEPT), 0);
}

static void say(struct buf *b, const struct note *n)
{
    AUTO(buf_release) struct buf content = BUF_INIT(LIMIT_NOTE);
    note_encode(&content, n);
    inline_raw(b, (const char *)content.data, content.len);
}

enum { SAID = 23 };                             /* {"what": "restored"} has so many bytes, with a path of one */
static void note_make(struct shape *s)
{
    stone_make(s);
    mp_put_u64(shape_set(s, KIND), KIND_NOTE);
    mp_put_bin(shape_set(s, PATH), ".lanyard/notes/0123456789abcdef0123456789abcdef", 47);
    mp_put_array(shape_set(s, CTX), 0);
    mp_put_array(shape_set(s, EXCEPT), 0);
    mp_put_i64(shape_set(s, MTIME), 0);
    mp_put_u64(shape_set(s, SIZE), SAID);
    say(shape_set(s, CONTENT), &(struct note){ .what = t_str("restored"), .path = t_str("p") });
}

static int entry_bytes(const void *p, size_t n)
{
    AUTO(entry_release) struct entry e = { 0 };
    return entry_decode(p, n, &e);
}
static int entry_shape(const struct shape *s, size_t n)
{
    AUTO(buf_release) struct buf b = BUF_INIT(1u << 22);
    shape_put(&b, s, n);
    return entry_bytes(b.data, b.len);
}
static const struct subject file = { file_make, entry_shape }, blocks = { blocks_make, entry_shape },
                            symlink = { link_make, entry_shape }, dir = { dir_make, entry_shape }, stone = { stone_make, entry_shape },
                            snapshot = { snapshot_make, entry_shape }, note = { note_make, entry_shape };

static void test_shapes(void)
{
    t_shape_rules(&file, "entry");
    t_shape_rules(&blocks, "entry");
    t_shape_rules(&symlink, "entry");
    t_shape_rules(&dir, "entry");
    t_shape_rules(&stone, "entry");
    t_shape_rules(&snapshot, "entry");
    t_shape_rules(&note, "entry");
}

static void test_kind_and_path(void)
{
    char longest[LIMIT_PATH + 1];
    for (size_t i = 0; i < sizeof longest; i++)
        longest[i] = i % 200 == 199 ? '/' : 'p';
    BAD(file, KIND, mp_put_u64(b, 0), "entry: kind");
    BAD(file, KIND, mp_put_u64(b, 7), "entry: kind");
    BAD(file, KIND, mp_put_u64(b, (1ull << 32) + 1), "entry: kind");
    BAD(file, PATH, mp_put_bin(b, "", 0), "entry: path");
    BAD(file, PATH, mp_put_bin(b, "../x", 4), "entry: path");
    BAD(file, PATH, mp_put_bin(b, "/x", 2), "entry: path");
    BAD(file, PATH, mp_put_bin(b, "a//x", 4), "entry: path");
    BAD(file, PATH, mp_put_bin(b, "a\0x", 3), "entry: path");
    BAD(file, PATH, mp_put_bin(b, ".lanyard/x", 10), "entry: path");
    BAD(file, PATH, mp_put_str(b, "text"), "entry: path: not a byte string");
    BAD(file, PATH, mp_put_bin(b, longest, LIMIT_PATH + 1), "entry: path");
    GOOD(file, PATH, mp_put_bin(b, longest, LIMIT_PATH));
    GOOD(file, PATH, mp_put_bin(b, "\xff\xfe", 2));
}

static void many_dots(struct buf *b, uint32_t n)
{
    mp_put_array(b, n);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t sid[SID_LEN] = { (uint8_t)(i >> 8), (uint8_t)i };
        mp_put_array(b, 2);
        mp_put_bin(b, sid, SID_LEN);
        mp_put_u64(b, 1);
    }
}

static void test_dots(void)
{
    BAD(file, CTX, dots_raw(b, 2, "ba", ((uint64_t[]){ 4, 2 })), "entry: ctx");
    BAD(file, CTX, dots_raw(b, 2, "aa", ((uint64_t[]){ 2, 4 })), "entry: ctx");
    BAD(file, CTX, dots_raw(b, 1, "a", ((uint64_t[]){ 0 })), "entry: ctx");
    BAD(file, CTX, dots_raw(b, 1, "a", ((uint64_t[]){ LIMIT_SEQ + 1 })), "entry: ctx");
    GOOD(file, CTX, dots_raw(b, 1, "a", ((uint64_t[]){ LIMIT_SEQ })));
    BAD(file, CTX, many_dots(b, LIMIT_CTX + 1), "entry: ctx");
    GOOD(file, CTX, many_dots(b, LIMIT_CTX));
    BAD(file, CTX, mp_put_nil(b), "entry: ctx");
    BAD(file, EXCEPT, dots_raw(b, 2, "aa", ((uint64_t[]){ 3, 3 })), "entry: except");
    BAD(file, EXCEPT, dots_raw(b, 2, "aa", ((uint64_t[]){ 3, 1 })), "entry: except");
    BAD(file, EXCEPT, dots_raw(b, 2, "ba", ((uint64_t[]){ 1, 2 })), "entry: except");
    BAD(file, EXCEPT, dots_raw(b, 1, "a", ((uint64_t[]){ 0 })), "entry: except");
    BAD(file, EXCEPT, many_dots(b, LIMIT_CTX + 1), "entry: except");
    GOOD(file, EXCEPT, many_dots(b, LIMIT_CTX));
}

static void test_numbers(void)
{
    BAD(file, HLC, mp_put_u64(b, RECORD_HLC_MAX + 1), "entry: hlc");
    GOOD(file, HLC, mp_put_u64(b, RECORD_HLC_MAX));
    BAD(file, MODE, mp_put_u64(b, 01000), "entry: mode");
    BAD(file, MODE, mp_put_u64(b, 0100644), "entry: mode");
    GOOD(file, MODE, mp_put_u64(b, 0777));
    BAD(file, SIZE, mp_put_u64(b, 6), "entry: content bytes");
    BAD(file, SIZE, mp_put_u64(b, LIMIT_FILE_SIZE + 1), "entry: size");
    BAD(file, SIZE, mp_put_i64(b, -5), "entry: size");
    BAD(file, MTIME, mp_put_u64(b, 1ull << 63), "entry: mtime_ns");
    BAD(file, MTIME, mp_put_nil(b), "entry: mtime_ns");
    GOOD(file, MTIME, mp_put_i64(b, INT64_MIN));
    GOOD(file, MTIME, mp_put_i64(b, INT64_MAX));
    BAD(file, ATTRS, mp_put_map(b, 0), "entry: attrs");
    BAD(file, ATTRS, mp_put_u64(b, 0), "entry: attrs");
    BAD(file, FLAGS, mp_put_u64(b, 2), "entry: flags");
    GOOD(file, FLAGS, mp_put_u64(b, FLAG_RESOLVE));
}

static void test_content(void)
{
    struct id root = t_id(7);
    BAD(file, CONTENT, mp_put_nil(b), "a file without content");
    BAD(file, CONTENT, mp_put_array(b, 0), "entry: content");
    BAD(file, CONTENT, inline_raw(b, "hell", 4), "entry: content bytes");
    BAD(file, CONTENT, inline_raw(b, "hello!", 6), "entry: content bytes");
    BAD(file, CONTENT, (mp_put_array(b, 2), mp_put_u64(b, 0), mp_put_str(b, "hello")), "entry: content bytes");
    BAD(file, CONTENT, (mp_put_array(b, 2), mp_put_u64(b, 1), mp_put_bin(b, root.b, 32)), "entry: content");
    BAD(blocks, CONTENT, blocks_raw(b, 0, 0, 100, &root), "entry: content");
    BAD(blocks, CONTENT, blocks_raw(b, 2, 0, 100, &root), "entry: content alg");
    BAD(blocks, CONTENT, blocks_raw(b, 1, 3, 100, &root), "entry: content class");
    BAD(blocks, CONTENT, blocks_raw(b, 1, 0, 0, &root), "entry: content nblocks");
    BAD(blocks, CONTENT, blocks_raw(b, 1, 0, LIMIT_BLOCKS + 1, &root), "entry: content nblocks");
    BAD(blocks, CONTENT, blocks_raw(b, 1, 0, 2, &root), "entry: content nblocks");          /* 10 MB need three of 4 MiB */
    GOOD(blocks, CONTENT, blocks_raw(b, 1, 0, 3, &root));
    BAD(blocks, CONTENT, blocks_raw(b, 1, 0, 10000001, &root), "entry: content nblocks");   /* a block has a byte */
    GOOD(blocks, CONTENT, blocks_raw(b, 1, 0, 10000000, &root));
    BAD(blocks, CONTENT, blocks_raw(b, 1, 0, 100, &ID_NONE), "entry: content root");
    BAD(blocks, SIZE, mp_put_u64(b, 0), "entry: content nblocks");
    BAD(blocks, SIZE, mp_put_u64(b, 99), "entry: content nblocks");
    BAD(blocks, SIZE, mp_put_u64(b, 100ull * LIMIT_BLOCK + 1), "entry: content nblocks");
    GOOD(blocks, SIZE, mp_put_u64(b, 100ull * LIMIT_BLOCK));
}

static void test_inline_limit(void)
{
    struct shape s = { 0 };
    char bytes[LIMIT_INLINE + 1];
    memset(bytes, 'i', sizeof bytes);
    file_make(&s);
    mp_put_u64(shape_set(&s, SIZE), LIMIT_INLINE);
    inline_raw(shape_set(&s, CONTENT), bytes, LIMIT_INLINE);
    OK(entry_shape(&s, s.n));
    mp_put_u64(shape_set(&s, SIZE), LIMIT_INLINE + 1);
    inline_raw(shape_set(&s, CONTENT), bytes, LIMIT_INLINE + 1);
    FAILS(entry_shape(&s, s.n), ERR_BAD, "entry: content bytes");
    mp_put_u64(shape_set(&s, SIZE), 0);
    inline_raw(shape_set(&s, CONTENT), "", 0);
    OK(entry_shape(&s, s.n));                   /* an empty file */
    shape_release(&s);
}

static void test_other_kinds(void)
{
    struct id root = t_id(7);
    BAD(symlink, CONTENT, mp_put_nil(b), "a symlink without an inline target");
    BAD(symlink, CONTENT, blocks_raw(b, 1, 0, 1, &root), "a symlink without an inline target");
    BAD(symlink, CONTENT, inline_raw(b, "hel\0o", 5), "a NUL in a symlink's target");
    BAD(symlink, SIZE, mp_put_u64(b, 4), "entry: content bytes");
    struct shape s = { 0 };
    link_make(&s);
    mp_put_u64(shape_set(&s, SIZE), 0);
    inline_raw(shape_set(&s, CONTENT), "", 0);
    FAILS(entry_shape(&s, s.n), ERR_BAD, "a symlink with an empty target");
    shape_release(&s);
    BAD(dir, SIZE, mp_put_u64(b, 1), "entry: size");
    BAD(dir, CONTENT, inline_raw(b, "", 0), "entry: content");
    BAD(dir, CONTENT, blocks_raw(b, 1, 0, 1, &root), "entry: content");
    BAD(stone, SIZE, mp_put_u64(b, 1), "entry: size");
    BAD(stone, CONTENT, inline_raw(b, "", 0), "entry: content");
    BAD(stone, MODE, mp_put_u64(b, 0600), "entry: mode");
    GOOD(stone, FLAGS, mp_put_u64(b, FLAG_RESOLVE));
}

static void test_snapshots(void)
{
    static const char *const bad[] = { "file", ".lanyard", ".lanyard/snapshots", ".lanyard/snapshots/", ".lanyard/snapshots/a/b",
                                       ".lanyard/snapshots/.", ".lanyard/snapshots/..", ".LANYARD/snapshots/a", ".lanyard/snapshot/a",
                                       ".lanyard/snapshots/a\nb", ".lanyard/snapshots/\xff" };
    static const struct subject *const others[] = { &file, &blocks, &symlink, &dir };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        BAD(snapshot, PATH, mp_put_bin(b, bad[i], strlen(bad[i])), "entry: path");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        BAD(*others[i], PATH, mp_put_bin(b, ".lanyard/snapshots/a", 20), "entry: path");
    GOOD(stone, PATH, mp_put_bin(b, ".lanyard/snapshots/a", 20));
    BAD(stone, PATH, mp_put_bin(b, ".lanyard/snapshots/a/b", 22), "entry: path");
    BAD(stone, PATH, mp_put_bin(b, ".lanyard/other/a", 16), "entry: path");
    char longest[19 + LIMIT_SNAPSHOT_NAME + 1];
    memcpy(longest, ".lanyard/snapshots/", 19);
    memset(longest + 19, 'n', sizeof longest - 19);
    GOOD(snapshot, PATH, mp_put_bin(b, longest, sizeof longest - 1));
    BAD(snapshot, PATH, mp_put_bin(b, longest, sizeof longest), "entry: path");
    BAD(snapshot, EXCEPT, dots_raw(b, 1, "a", ((uint64_t[]){ 1 })), "entry: except");
    BAD(snapshot, SIZE, mp_put_u64(b, 1), "entry: size");
    BAD(snapshot, MODE, mp_put_u64(b, 0600), "entry: mode");
    BAD(snapshot, CONTENT, inline_raw(b, "", 0), "entry: content");
    BAD(snapshot, FLAGS, mp_put_u64(b, FLAG_RESOLVE), "entry: flags");
    GOOD(snapshot, CTX, many_dots(b, LIMIT_CTX));
}

static void test_too_long(void)
{
    uint8_t *p = xcalloc(1, LIMIT_ENTRY + 1);
    FAILS(entry_bytes(p, LIMIT_ENTRY + 1), ERR_BAD, "entry: size");
    free(p);
}

static void test_truncations(void)
{
    struct shape s = { 0 };
    static const struct subject *const all[] = { &file, &blocks, &symlink, &dir, &stone, &snapshot };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        AUTO(buf_release) struct buf b = BUF_INIT(1u << 20);
        all[i]->make(&s);
        shape_put(&b, &s, s.n);
        t_truncations(entry_bytes, &b);
        shape_release(&s);
    }
}

/* ---- round trips ---- */

static char pool[64];   /* what random paths and contents are made of */

static void random_content(uint64_t *seed, struct entry *e)
{
    if (e->kind == KIND_SYMLINK || (e->kind == KIND_FILE && t_num(seed, 1))) {
        e->size = t_num(seed, 32) + (e->kind == KIND_SYMLINK);
        e->content.type = CONTENT_INLINE;
        e->content.inline_bytes = (struct bytes){ (uint8_t *)pool + t_num(seed, 20), e->size };
        e->content.root = id_hash(e->content.inline_bytes.p, e->size);
    } else if (e->kind == KIND_FILE) {
        e->content.type = CONTENT_BLOCKS;
        e->content.class = (uint8_t)t_num(seed, 2);
        e->content.nblocks = 1 + (uint32_t)t_num(seed, LIMIT_BLOCKS - 1);
        t_bytes(seed, e->content.root.b, ID_LEN);
        e->size = e->content.nblocks + t_num(seed, (uint64_t)e->content.nblocks * (LIMIT_BLOCK - 1));
    }
}

static struct entry random_entry(uint64_t *seed)
{
    struct entry e = { .kind = (enum kind)(1 + t_num(seed, 3)) };
    e.path = (struct bytes){ (uint8_t *)pool, 1 + t_num(seed, 60) };
    for (uint64_t n = t_num(seed, 5); n > 0; n--) {
        struct sid sid = t_sid((uint8_t)t_num(seed, 255));
        ctx_raise(&e.v.ctx, &sid, 1 + t_num(seed, LIMIT_SEQ - 1));
    }
    for (uint64_t n = t_num(seed, 5); n > 0; n--)
        dots_add(&e.v.except, &(struct dot){ t_sid((uint8_t)t_num(seed, 3)), 1 + t_num(seed, 5) });
    e.v.hlc = t_num(seed, RECORD_HLC_MAX);
    e.v.tombstone = e.kind == KIND_TOMBSTONE;
    e.mode = e.kind == KIND_TOMBSTONE ? 0 : (uint32_t)t_num(seed, 0777);
    e.mtime_ns = (int64_t)t_rand(seed) >> t_num(seed, 63);
    e.flags = t_num(seed, 1);
    random_content(seed, &e);
    return e;
}

static void same_dots(const struct dots *a, const struct dots *b)
{
    EQ_U(b->n, a->n);
    for (size_t i = 0; i < a->n; i++)
        CHECK(dot_cmp(&a->v[i], &b->v[i]) == 0);
}

static void test_round_trip(void)
{
    uint64_t seed = 4;
    memset(pool, 'p', sizeof pool);
    AUTO(entry_release) struct entry d = { 0 };          /* its lists are used again and again */
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_ENTRY);
    for (int i = 0; i < 2000; i++) {
        AUTO(entry_release) struct entry e = random_entry(&seed);
        buf_clear(&b);
        OK(entry_encode(&b, &e));
        OK(entry_decode(b.data, b.len, &d));
        EQ_U(d.kind, e.kind);
        EQ_U(d.path.len, e.path.len);
        EQ_MEM(d.path.p, e.path.p, e.path.len);
        same_dots(&e.v.ctx, &d.v.ctx);
        same_dots(&e.v.except, &d.v.except);
        CHECK(d.v.hlc == e.v.hlc && d.v.tombstone == e.v.tombstone && !d.v.required);
        CHECK(d.mode == e.mode && d.size == e.size && d.mtime_ns == e.mtime_ns && d.flags == e.flags);
        CHECK(d.content.type == e.content.type && d.content.class == e.content.class && d.content.nblocks == e.content.nblocks);
        CHECK(id_eq(&d.content.root, &e.content.root));
        CHECK(entry_same(&e, &d));
    }
}

/* What is accepted after any change of one bit is still a valid entry: encoding it again works. */
static void test_flips(void)
{
    struct shape s = { 0 };
    AUTO(buf_release) struct buf b = BUF_INIT(1000), again = BUF_INIT(LIMIT_ENTRY);
    blocks_make(&s);
    shape_put(&b, &s, s.n);
    shape_release(&s);
    AUTO(entry_release) struct entry e = { 0 };
    int accepted = 0;
    for (size_t bit = 0; bit < 8 * b.len; bit++) {
        b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (entry_decode(b.data, b.len, &e) == 0) {
            accepted++;
            buf_clear(&again);
            OK(entry_encode(&again, &e));
        }
        b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    CHECK(accepted > 100);    /* hashes and numbers may change: that is what signatures are for */
}

static void test_same(void)
{
    struct entry a = { .kind = KIND_FILE, .mode = 0644, .size = 5 }, b;
    a.content.root = t_id(1);
    b = a;
    CHECK(entry_same(&a, &b));
    b.mtime_ns = 3;
    b.v.hlc = 9;
    b.content.type = CONTENT_BLOCKS;            /* a single block and inline bytes have the same root */
    CHECK(entry_same(&a, &b));
    b.mode = 0600;
    CHECK(!entry_same(&a, &b));
    a.kind = b.kind = KIND_SYMLINK;
    CHECK(entry_same(&a, &b));
    b.content.root = t_id(2);
    CHECK(!entry_same(&a, &b));
    b = a;
    b.kind = KIND_FILE;
    CHECK(!entry_same(&a, &b));
    b = a;
    b.size++;
    CHECK(!entry_same(&a, &b));
    a.kind = KIND_SNAPSHOT;
    CHECK(!entry_same(&a, &a));                 /* two of one name are two vectors */
}

static void test_notes(void)
{
    static const char *const bad[] = { "file", ".lanyard/notes", ".lanyard/notes/0123", ".lanyard/notes/0123456789abcdef0123456789abcdeF",
                                       ".lanyard/notes/0123456789abcdef0123456789abcde/", ".lanyard/notes/0123456789abcdef0123456789abcdef0",
                                       ".lanyard/note//0123456789abcdef0123456789abcdef", ".lanyard/snapshots/0123456789abcdef0123456789ab" };
    static const struct subject *const others[] = { &file, &blocks, &symlink, &dir, &stone, &snapshot };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        BAD(note, PATH, mp_put_bin(b, bad[i], strlen(bad[i])), "entry: path");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)      /* so nothing can end a note */
        BAD(*others[i], PATH, mp_put_bin(b, ".lanyard/notes/0123456789abcdef0123456789abcdef", 47), "entry: path");
    BAD(note, CTX, dots_raw(b, 1, "a", ((uint64_t[]){ 1 })), "entry: ctx");
    BAD(note, EXCEPT, dots_raw(b, 1, "a", ((uint64_t[]){ 1 })), "entry: except");
    BAD(note, MODE, mp_put_u64(b, 0600), "entry: mode");
    BAD(note, SIZE, mp_put_u64(b, SAID + 1), "entry: content bytes");
    BAD(note, MTIME, mp_put_u64(b, 1), "entry: mtime_ns");
    BAD(note, FLAGS, mp_put_u64(b, FLAG_RESOLVE), "entry: flags");
    BAD(note, CONTENT, mp_put_nil(b), "entry: content");
    BAD(note, CONTENT, inline_raw(b, "0123456789012345678901234", SAID), "entry: content");
    BAD(note, CONTENT, blocks_raw(b, 1, 0, 1, &(struct id){ "x" }), "entry: content");
}

static void test_place(void)
{
    struct header h = { .sid = t_sid('s'), .first = 10, .count = 3, .hlc_max = 50 };
    AUTO(entry_release) struct entry e = { .kind = KIND_DIR, .v.hlc = 50 };
    ctx_raise(&e.v.ctx, &h.sid, 11);
    struct sid other = t_sid('t');
    ctx_raise(&e.v.ctx, &other, 999);
    dots_add(&e.v.except, &(struct dot){ h.sid, 11 });
    dots_add(&e.v.except, &(struct dot){ other, 999 });
    OK(entry_place(&e, &h, 2));
    EQ_U(e.v.dot.seq, 12);
    CHECK(sid_eq(&e.v.dot.sid, &h.sid));
    FAILS(entry_place(&e, &h, 1), ERR_BAD, "entry: ctx");
    e.v.hlc++;
    FAILS(entry_place(&e, &h, 2), ERR_BAD, "entry: hlc");
    e.v.hlc--;
    dots_add(&e.v.except, &(struct dot){ h.sid, 12 });
    FAILS(entry_place(&e, &h, 2), ERR_BAD, "entry: except");
}

static void test_encode_refuses(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_ENTRY), small = BUF_INIT(10);
    struct entry e = { .kind = KIND_DIR, .path = t_str("a/../b") };
    buf_add_str(&b, "kept");
    FAILS(entry_encode(&b, &e), ERR_BAD, "entry: path");
    EQ_U(b.len, 4);
    e.path = t_str("a/b");
    OK(entry_encode(&b, &e));
    FAILS(entry_encode(&small, &e), ERR_FULL, "entry");
}

int main(void)
{
    RUN(test_shapes);
    RUN(test_kind_and_path);
    RUN(test_dots);
    RUN(test_numbers);
    RUN(test_content);
    RUN(test_inline_limit);
    RUN(test_other_kinds);
    RUN(test_snapshots);
    RUN(test_notes);
    RUN(test_too_long);
    RUN(test_truncations);
    RUN(test_round_trip);
    RUN(test_flips);
    RUN(test_same);
    RUN(test_place);
    RUN(test_encode_refuses);
    return t_done();
}
