/* Packed contents whose versions are on disk, folded into one row each: whoever reads finds what was there before, and whatever changes one
 * of the three that it stands for leaves the other two. */
#include "tests/unit/t_index.h"

#include <sqlite3.h>

#include "store/index_priv.h"

enum { FILES = 3, PACK = 5, SIZE = 100 };
static struct index *ix;
static struct ix_entry entry[FILES];
static int64_t stream, last_seq;

static int64_t count(const char *table)
{
    char text[60];
    int64_t n;
    snprintf(text, sizeof text, "SELECT count(*) FROM %s", table);
    OK(index_ask(ix, text, &n));
    return n;
}

static struct ix_entry add_entry(const char *name, const struct id *root)
{
    struct ix_entry e = { .stream = stream, .path = t_path(ix, name), .seq = (uint64_t)++last_seq, .live = true, .kind = KIND_FILE, .size = SIZE,
                          .root = *root, .raw = t_text("entry") };
    OK(index_entry_put(ix, &e));
    return e;
}

static void add_piece(enum pack_kind kind, const struct id *id, uint64_t off, uint32_t len)
{
    OK(index_piece_put(ix, &(struct ix_piece){ .kind = kind, .id = *id, .at = { PACK, off, len } }));
}

/* Block and content of a file, one behind the other, at 1000, 2000, ... of the pack. */
static void pack(const struct ix_entry *e, uint64_t off)
{
    struct ix_kept k = { .path = e->path, .entry = e->id, .root = e->root, .size = e->size, .kept_ms = KEPT_ALIVE, .name = "" };
    add_piece(PACK_BLOCK, &e->root, off, 120);
    add_piece(PACK_CONTENT, &e->root, off + 120, 70);
    OK(index_kept_put(ix, &k));
}

static void begin(void)
{
    struct ix_stream s = { .dev = t_root(5) };
    ix = t_index(":memory:");
    OK(index_begin(ix));
    OK(index_stream_add(ix, &s));
    OK(index_pack_put(ix, &(struct ix_pack){ PACK, 10000 }));
    stream = s.id;
    last_seq = 0;
    for (unsigned i = 0; i < FILES; i++) {
        struct id root = t_root(10 + i);
        char name[] = { 'f', (char)('0' + i), '\0' };
        entry[i] = add_entry(name, &root);
        pack(&entry[i], 1000 * (i + 1));
    }
}

static void fold_all(int64_t folded)
{
    for (unsigned i = 0; i < FILES; i++)
        OK(index_kept_fold(ix, &entry[i].root));
    EQ_I(count("alive"), folded);
}

static void end(void)
{
    index_rollback(ix);
    index_close(&ix);
}

/* ---- what is read ---- */

/* All that is read of kept rows and pieces, without their numbers. */
struct sum { uint64_t h; unsigned rows; };
static void take(struct sum *s, const void *p, size_t len)
{
    struct id id = id_hash(p, len);
    uint64_t v;
    memcpy(&v, id.b, sizeof v);
    s->h += v * (2 * s->rows + 1);        /* in this order */
}
static int on_kept(void *arg, const struct ix_kept *k)
{
    struct sum *s = arg;
    struct { int64_t path, entry; uint64_t size, ms; struct id root; } v = { k->path, k->entry, k->size, k->kept_ms, k->root };
    EQ_S(k->name, "");
    take(s, &v, sizeof v);
    s->rows++;
    return 0;
}
static int on_piece(void *arg, const struct ix_piece *p)
{
    struct sum *s = arg;
    struct { struct id id; uint64_t pack, off, len, kind; } v = { p->id, p->at.pack, p->at.off, p->at.len, p->kind };
    take(s, &v, sizeof v);
    s->rows++;
    return 0;
}
static int on_entry(void *arg, const struct ix_entry *e) { (void)e; ((struct sum *)arg)->rows++; return 0; }

static struct sum read_one(unsigned i)
{
    struct sum s = { 0 };
    struct ix_piece p;
    OK(index_kept_by_root(ix, &entry[i].root, on_kept, &s));
    OK(index_kept_of_path(ix, entry[i].path, on_kept, &s));
    for (int kind = PACK_BLOCK; kind <= PACK_CONTENT; kind++) {
        OK(index_piece_get(ix, kind, &entry[i].root, &p));
        (void)on_piece(&s, &p);
    }
    EQ_U(s.rows, 4);
    return s;
}

static void test_reads_the_same(void)
{
    begin();
    struct sum one[FILES], was = { 0 }, is = { 0 }, unkept = { 0 };
    for (unsigned i = 0; i < FILES; i++)
        one[i] = read_one(i);
    OK(index_piece_of_pack(ix, PACK, true, on_piece, &was));
    EQ_U(was.rows, 2 * FILES);
    fold_all(FILES);
    EQ_I(count("piece"), 0);
    EQ_I(count("kept"), 0);
    for (unsigned i = 0; i < FILES; i++)
        EQ_U(read_one(i).h, one[i].h);
    OK(index_piece_of_pack(ix, PACK, true, on_piece, &is));
    EQ_U(is.h, was.h);
    is = (struct sum){ 0 };
    OK(index_piece_of_pack(ix, PACK, false, on_piece, &is));
    EQ_U(is.rows, 0);
    for (unsigned i = 0; i < FILES; i++)
        OK(index_local_put(ix, &(struct ix_local){ .path = entry[i].path, .entry = entry[i].id, .stamp = { .kind = STAMP_FILE }, .settled = true }));
    OK(index_entry_unkept(ix, stream, 0, 100, false, on_entry, &unkept));
    EQ_U(unkept.rows, 0);
    struct ix_piece p;
    struct id other = t_root(99);
    EQ_I(index_piece_get(ix, PACK_BLOCK, &other, &p), ERR_NOTFOUND);
    end();
}

/* ---- one after the other ---- */

struct walk { int64_t id[2 * FILES]; unsigned n, stop; };
static int on_row(void *arg, const struct ix_kept *k)
{
    struct walk *w = arg;
    w->id[w->n++] = k->id;
    return w->n == w->stop;
}

/* From row to row, some folded and some not: each once. */
static void test_loops(void)
{
    begin();
    OK(index_kept_fold(ix, &entry[0].root));
    OK(index_kept_fold(ix, &entry[2].root));
    struct walk w = { .stop = 1 };
    int64_t from = INT64_MAX;
    while (index_kept_alive(ix, from, on_row, &w) == 1) {
        from = w.id[w.n - 1];
        w.stop++;
    }
    EQ_U(w.n, FILES);
    CHECK(w.id[0] > 0 && w.id[1] == -entry[0].id && w.id[2] == -entry[2].id);
    w = (struct walk){ .stop = 1 };
    from = INT64_MIN;
    while (index_kept_in_packs(ix, from, on_row, &w) == 1) {
        from = w.id[w.n - 1];
        w.stop++;
    }
    EQ_U(w.n, FILES);
    CHECK(w.id[0] == -entry[2].id && w.id[1] == -entry[0].id && w.id[2] > 0);
    w = (struct walk){ .stop = 9 };
    OK(index_kept_in_packs(ix, 0, on_row, &w));
    EQ_U(w.n, 1);
    w = (struct walk){ .stop = 9 };
    OK(index_kept_each(ix, on_row, &w));
    EQ_U(w.n, FILES);
    end();
}

/* ---- changes ---- */

static int64_t id_of(unsigned i)
{
    struct walk w = { .stop = 9 };
    OK(index_kept_by_root(ix, &entry[i].root, on_row, &w));
    EQ_U(w.n, 1);
    return w.id[0];
}

static void test_kept_changes(void)
{
    begin();
    fold_all(FILES);
    EQ_I(id_of(0), -entry[0].id);
    OK(index_kept_del(ix, id_of(0)));
    EQ_I(count("alive"), 2);
    EQ_I(count("kept"), 0);
    EQ_I(count("piece"), 2);                 /* until nothing refers to them */
    OK(index_kept_del(ix, -entry[0].id));    /* absent */
    OK(index_kept_since(ix, id_of(1), 77));
    CHECK(id_of(1) > 0);
    EQ_I(count("kept WHERE kept_ms = 77"), 1);
    EQ_I(count("piece"), 4);
    EQ_I(index_kept_since(ix, -entry[1].id, 78), ERR_NOTFOUND);
    OK(index_entry_del(ix, entry[2].id));
    EQ_I(count("alive"), 0);
    CHECK(id_of(2) > 0);
    end();
}

static void test_piece_changes(void)
{
    struct ix_piece p;
    begin();
    fold_all(FILES);
    struct sum was = read_one(0);
    OK(index_piece_add(ix, &(struct ix_piece){ .kind = PACK_BLOCK, .id = entry[0].root, .at = { 9, 9, 9 } }));
    EQ_U(read_one(0).h, was.h);              /* it stays where it is */
    EQ_I(count("alive"), FILES);
    add_piece(PACK_BLOCK, &entry[0].root, 7000, 130);
    OK(index_piece_get(ix, PACK_BLOCK, &entry[0].root, &p));
    EQ_U(p.at.off, 7000);
    OK(index_piece_get(ix, PACK_CONTENT, &entry[0].root, &p));
    EQ_U(p.at.off, 1120);
    fold_all(FILES - 1);                     /* no longer one behind the other */
    OK(index_piece_del(ix, PACK_CONTENT, &entry[1].root));
    EQ_I(index_piece_get(ix, PACK_CONTENT, &entry[1].root, &p), ERR_NOTFOUND);
    OK(index_piece_get(ix, PACK_BLOCK, &entry[1].root, &p));
    CHECK(id_of(1) > 0);
    OK(index_pack_del(ix, PACK));
    EQ_I(count("alive"), 0);
    EQ_I(count("piece"), 0);
    EQ_I(count("kept"), FILES);              /* what is said to be kept is missed */
    end();
}

/* Numbers of pieces that a marking has seen are not given to others, though those have gone meanwhile. */
static void test_numbers(void)
{
    int64_t max;
    struct ix_piece p;
    begin();
    OK(index_piece_max(ix, &max));
    EQ_I(max, 2 * FILES);
    fold_all(FILES);
    OK(index_kept_del(ix, id_of(0)));
    for (int kind = PACK_BLOCK; kind <= PACK_CONTENT; kind++) {
        OK(index_piece_get(ix, kind, &entry[0].root, &p));
        CHECK(p.n > max);
    }
    end();
}

/* Of many files of one content only the first are looked at: another one is not folded. */
static void test_many_of_one_content(void)
{
    struct id root = t_root(50);
    struct ix_entry e = { 0 };
    char name[20];
    begin();
    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "same%u", i);
        e = add_entry(name, &root);
    }
    pack(&e, 8000);
    OK(index_kept_fold(ix, &root));
    EQ_I(count("alive"), 0);
    struct id first = entry[0].root;
    fold_all(FILES);
    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "more%u", i);
        (void)add_entry(name, &first);
    }
    EQ_U(read_one(0).rows, 4);
    end();
}

int main(void)
{
    RUN(test_reads_the_same);
    RUN(test_loops);
    RUN(test_kept_changes);
    RUN(test_piece_changes);
    RUN(test_numbers);
    RUN(test_many_of_one_content);
    return t_done();
}
