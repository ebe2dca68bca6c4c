/* The index against plain arrays: thousands of random operations, commits, rollbacks and reopenings; after each transaction both
 * say the same. */
#include "tests/unit/t_index.h"

#define PATHS 40
#define ENTRIES 600
#define STREAMS 4
#define ROOTS 12

struct m_entry {
    bool used, live, wanted;
    int64_t stream, path;
    uint64_t seq, size, want_size;
    enum kind kind;
    unsigned root;
    enum want_role role;
};
struct model {
    bool path_used[PATHS + 1], conflict[PATHS + 1], here[PATHS + 1];
    unsigned name[PATHS + 1];              /* which name a path id has; ids are 1, 2, 3... */
    int64_t winner[PATHS + 1], local[PATHS + 1];
    uint64_t size[PATHS + 1];
    struct m_entry entry[ENTRIES + 1];
    int64_t npath, nentry;
    uint64_t next[STREAMS + 1];
};

static struct model now, saved;
static struct index *ix;
static uint64_t seed;

static unsigned below(unsigned n)
{
    return (unsigned)(t_rand(&seed) % n);
}
static struct id root_of(unsigned i)
{
    return i ? t_root(i) : ID_NONE;
}
static const char *name_of(unsigned i)
{
    static char s[32];
    snprintf(s, sizeof s, i % 3 ? "dir%u/f%u" : "dir%u/sub/f%u", i % 5, i);
    return s;
}

/* ---- operations ---- */

static int64_t a_path(void)
{
    unsigned name = below(PATHS);
    int64_t id, p = 1;
    OK(index_path_id(ix, name_of(name), strlen(name_of(name)), true, &id));
    while (p <= now.npath && now.name[p] != name)
        p++;
    EQ_I(id, p);
    if (p > now.npath) {
        now.npath = p;
        now.path_used[p] = true;
        now.name[p] = name;
    }
    return p;
}

static void op_entry(void)
{
    if (now.nentry == ENTRIES)
        return;
    int64_t stream = 1 + below(STREAMS), path = a_path(), id = ++now.nentry;
    struct m_entry m = { .used = true, .live = below(2), .stream = stream, .path = path, .seq = ++now.next[stream],
                         .size = below(1000), .kind = (enum kind)(1 + below(4)), .root = below(ROOTS) };
    struct ix_entry e = { .stream = stream, .seq = m.seq, .path = path, .live = m.live, .kind = m.kind, .size = m.size,
                          .root = root_of(m.root), .raw = t_text("raw") };
    OK(index_entry_put(ix, &e));
    EQ_I(e.id, id);
    now.entry[id] = m;
    if (below(2)) {
        now.winner[path] = id;
        OK(index_path_set_winner(ix, path, id));
    }
}

static void op_want(void)
{
    int64_t id = 1 + below((unsigned)now.nentry + 1);
    struct m_entry *m = &now.entry[id];
    if (id > now.nentry)
        return;
    if (below(3) == 0) {
        OK(index_want_del(ix, id));
        m->wanted = false;
        return;
    }
    struct ix_want w = { .entry = id, .path = m->path, .stream = m->stream, .seq = m->seq, .size = below(5000),
                         .role = below(2) ? WANT_INSTALL : WANT_KEEP, .kind = m->kind, .root = root_of(m->root) };
    OK(index_want_put(ix, &w));
    m->wanted = true;
    m->want_size = w.size;
    m->role = w.role;
}

static void op_local(void)
{
    int64_t path = a_path();
    if (below(4) == 0) {
        OK(index_local_del(ix, path));
        now.here[path] = false;
        return;
    }
    int64_t entry = now.nentry ? 1 + below((unsigned)now.nentry) : 0;
    if (below(3))
        entry = now.winner[path];
    struct ix_local l = { .path = path, .entry = entry, .stamp = { .kind = STAMP_FILE, .size = below(1000) } };
    OK(index_local_put(ix, &l));
    now.here[path] = true;
    now.local[path] = entry;
    now.size[path] = l.stamp.size;
}

static void op_flags(void)
{
    int64_t path = a_path(), id = 1 + below((unsigned)now.nentry + 1);
    now.conflict[path] = below(2);
    OK(index_conflict_set(ix, path, now.conflict[path]));
    if (id > now.nentry)
        return;
    now.entry[id].live = below(2);
    OK(index_entry_set_live(ix, id, now.entry[id].live));
}

/* ---- comparisons: callbacks find each row in the model and count ---- */

struct tally { uint64_t rows; int64_t last; unsigned root; };

static int on_entry(void *arg, const struct ix_entry *e)
{
    struct tally *t = arg;
    const struct m_entry *m = &now.entry[e->id];
    struct id root = root_of(m->root);
    CHECK(m->used && m->live == e->live && m->stream == e->stream && m->path == e->path && m->kind == e->kind);
    CHECK(m->seq == e->seq && m->size == e->size && id_eq(&e->root, &root));
    CHECK(t->rows++ == 0 || e->id < t->last);
    t->last = e->id;
    return 0;
}
static int on_seq(void *arg, const struct ix_entry *e)
{
    struct tally *t = arg;
    EQ_U(e->seq, ++t->rows);
    return 0;
}
static int on_local(void *arg, const struct ix_local *l)
{
    struct tally *t = arg;
    t->rows++;
    CHECK(l->path <= now.npath && now.here[l->path] && now.local[l->path] == l->entry && now.size[l->path] == l->stamp.size);
    CHECK(t->root == 0 || (now.entry[l->entry].path == l->path && now.entry[l->entry].root == t->root));
    return 0;
}
static int on_want(void *arg, const struct ix_want *w)
{
    struct tally *t = arg;
    const struct m_entry *m = &now.entry[w->entry];
    t->rows++;
    CHECK(m->wanted && m->want_size == w->size && m->role == w->role && m->path == w->path && m->stream == w->stream);
    CHECK(m->seq == w->seq && m->kind == w->kind && (t->root == 0 || m->root == t->root));
    return 0;
}
static int on_conflict(void *arg, int64_t path)
{
    ++*(uint64_t *)arg;
    CHECK(now.conflict[path]);
    return 0;
}
static int on_path(void *arg, int64_t path, const char *name, size_t len, int64_t winner)
{
    ++*(uint64_t *)arg;
    CHECK(strlen(name_of(now.name[path])) == len && memcmp(name_of(now.name[path]), name, len) == 0);
    EQ_I(winner, now.winner[path]);
    return 0;
}

static void compare_roots(void)
{
    for (unsigned r = 1; r < ROOTS; r++) {
        struct tally local = { .root = r }, want = { .root = r };
        struct id root = root_of(r);
        uint64_t locals = 0, wants = 0;
        OK(index_local_by_root(ix, &root, on_local, &local));
        OK(index_want_by_root(ix, &root, on_want, &want));
        for (int64_t p = 1; p <= now.npath; p++) {
            const struct m_entry *m = &now.entry[now.local[p]];
            locals += now.here[p] && m->used && m->path == p && m->root == r;
        }
        for (int64_t i = 1; i <= now.nentry; i++)
            wants += now.entry[i].wanted && now.entry[i].root == r;
        EQ_U(local.rows, locals);
        EQ_U(want.rows, wants);
    }
}

static void compare_streams(void)
{
    for (int64_t s = 1; s <= STREAMS; s++) {
        struct tally t = { 0 };
        uint64_t min, lowest = UINT64_MAX;
        OK(index_entry_each_of_stream(ix, s, 0, UINT64_MAX, on_seq, &t));
        EQ_U(t.rows, now.next[s]);
        for (int64_t i = 1; i <= now.nentry; i++)
            if (now.entry[i].wanted && now.entry[i].stream == s && now.entry[i].seq < lowest)
                lowest = now.entry[i].seq;
        int rc = index_want_min(ix, s, &min);
        EQ_I(rc, lowest == UINT64_MAX ? ERR_NOTFOUND : 0);
        if (rc == 0)
            EQ_U(min, lowest);
    }
}

/* What index_local_find says of a name is what index_path_id and index_local_get say, in and out of a span of reads. */
static void compare_finds(void)
{
    for (unsigned name = 0; name < PATHS; name++) {
        struct ix_local got, l;
        int64_t id;
        const char *text = name_of(name);
        int rc = index_path_id(ix, text, strlen(text), false, &id);
        EQ_I(index_local_find(ix, text, strlen(text), &got), rc);
        if (rc < 0)
            continue;
        EQ_I(got.path, id);
        if (index_local_get(ix, id, &l) == 0)
            CHECK(l.entry == got.entry && l.settled == got.settled && stamp_same(&l.stamp, &got.stamp));
        else
            CHECK(got.entry == 0 && got.stamp.kind == STAMP_ABSENT);
    }
}

static void compare_paths(void)
{
    uint64_t beneath = 0, n = 0, here = 0, conflicts = 0, files = 0, bytes = 0, got, got_bytes;
    for (int64_t p = 1; p <= now.npath; p++) {
        const struct m_entry *w = &now.entry[now.winner[p]];
        bool file = now.winner[p] && w->kind == KIND_FILE;
        beneath += now.name[p] % 5 == 2;
        here += now.here[p];
        conflicts += now.conflict[p];
        files += file;
        bytes += file ? w->size : 0;
    }
    OK(index_path_each(ix, "dir2", 4, false, on_path, &n));
    EQ_U(n, beneath);
    struct tally t = { 0 };
    OK(index_local_each(ix, on_local, &t));
    EQ_U(t.rows, here);
    OK(index_conflict_count(ix, &n));
    EQ_U(n, conflicts);
    n = 0;
    OK(index_conflict_each(ix, on_conflict, &n));
    EQ_U(n, conflicts);
    OK(index_totals(ix, &got, &got_bytes));
    EQ_U(got, files);
    EQ_U(got_bytes, bytes);
}

static void compare(void)
{
    uint64_t wanted = 0, bytes = 0, n, got;
    struct tally entries = { 0 }, wants = { 0 };
    for (int64_t i = 1; i <= now.nentry; i++) {
        wanted += now.entry[i].wanted;
        bytes += now.entry[i].wanted ? now.entry[i].want_size : 0;
    }
    OK(index_entry_recent(ix, UINT32_MAX, on_entry, &entries));
    EQ_I(entries.rows, now.nentry);
    OK(index_want_each(ix, 0, on_want, &wants));
    EQ_U(wants.rows, wanted);
    OK(index_want_totals(ix, &n, &got));
    EQ_U(n, wanted);
    EQ_U(got, bytes);
    compare_roots();
    compare_streams();
    compare_paths();
    compare_finds();
}

static void run(const char *path, uint64_t first_seed)
{
    static void (*const op[])(void) = { op_entry, op_entry, op_want, op_want, op_local, op_flags };
    now = (struct model){ 0 };
    seed = first_seed;
    ix = t_index(path);
    for (unsigned tx = 0; tx < 60; tx++) {
        saved = now;
        OK(index_begin(ix));
        for (unsigned i = below(20); i > 0; i--)
            op[below(sizeof op / sizeof *op)]();
        if (below(4)) {
            OK(index_commit(ix));
        } else {
            compare();   /* within the transaction, too */
            index_rollback(ix);
            now = saved;
        }
        if (below(8) == 0)
            OK(index_checkpoint(ix, below(2)));
        if (below(8) == 0 && path[0] == '/') {
            index_close(&ix);
            ix = t_index(path);
        }
        compare();
    }
    index_close(&ix);
}

static void test_memory(void)
{
    for (uint64_t s = 1; s <= 8; s++)
        run(":memory:", s);
}

static void test_file(void)
{
    run(t_file("one"), 100);
    run(t_file("two"), 101);
}

int main(void)
{
    t_dir_make();
    RUN(test_memory);
    RUN(test_file);
    t_dir_remove();
    return t_done();
}
