/* t_pull: beside the device with a real folder that t_scan makes, one that is only an engine and has no disk: it authors what the
 * first one then puts into its folder, without a network. */
#ifndef TESTS_UNIT_T_PULL_H
#define TESTS_UNIT_T_PULL_H

#include "node/pull.h"
#include "tests/unit/t_scan.h"

static struct far {
    struct index *ix; struct engine *e; struct peers *peers; struct pull *pull;
    uint64_t wall, ino;
    unsigned looks;
    char failed[300];
} far;

static inline void far_committed(void *arg)
{
    (void)arg;
    if (far.pull)
        pull_kick(far.pull);
}
static inline void far_look(void *arg, const char *path, size_t len)
{
    (void)arg;
    far.looks++;
    if (w.scan)
        scan_hint(w.scan, path, len, false);
}
static inline bool far_ignored(void *arg, const char *path, size_t len, bool dir)
{
    (void)arg;
    return w.scan ? scan_ignored(w.scan, path, len, dir) : false;
}
static inline void far_failed(void *arg, const char *text)
{
    (void)arg;
    snprintf(far.failed, sizeof far.failed, "%s", text ? text : "");
}
static inline bool far_busy(const char *path, size_t len) { return far.pull && pull_busy(far.pull, path, len); }
static inline int pull_try(void)
{
    w.also_busy = far_busy;
    w.also_committed = far_committed;
    if (!w.pool)
        t_must(pool_new(w.loop, 3, &w.pool));
    struct peers_config pc = { .loop = w.loop, .keys = w.g.dev[0], .group = &w.g.group };
    t_must(peers_new(&pc, &far.peers));
    struct pull_config c = { .loop = w.loop, .pool = w.pool, .folder = folder, .engine = w.e, .index = w.ix, .peers = far.peers,
                             .gear = &w.gear, .ops = { .committed = far_committed, .look = far_look, .ignored = far_ignored,
                                                       .failed = far_failed } };
    return pull_new(&c, &far.pull);
}
static inline void pull_start(void) { t_must(pull_try()); }
static inline void pull_end(void)
{
    pool_free(&w.pool);
    pull_free(&far.pull);
    peers_free(&far.peers);
    scan_free(&w.scan);
}
static inline void both_end(void)
{
    pull_end();
    engine_free(&far.e);
    index_close(&far.ix);
    far = (struct far){ 0 };
    world_end();
}
static inline void both_begin(void)
{
    both_end();
    world_begin();
    t_group_add(&w.g, 1);
    far.wall = loop_wall();
    t_must(index_open(":memory:", &w.g.group.id, false, &far.ix));
    struct engine_config c = { .index = far.ix, .group = &w.g.group, .keys = w.g.dev[1], .inst = { 2 } };
    t_must(engine_new(&c, &far.e));
}

/* ---- what the far user does ---- */

static inline void far_seen(const char *path, const struct stamp *st, const struct content_list *c)
{
    t_must(engine_begin(far.e));
    EQ_I(engine_seen(far.e, path, strlen(path), st, c, true, ++far.wall), 1);
    t_must(engine_commit(far.e, far.wall));
}
static inline struct stamp far_stamp(enum stamp_kind kind, uint32_t mode, uint64_t size)
{
    return (struct stamp){ .kind = kind, .mode = mode, .dev = 1, .ino = ++far.ino, .size = size,
                           .mtime_ns = 1500000000000000000 + (int64_t)far.ino * 1000 };
}
static inline void far_inline(const char *path, enum stamp_kind kind, const char *text)
{
    size_t n = strlen(text);
    struct content_list c = { .type = CONTENT_INLINE, .size = n, .inline_len = n, .root = id_hash(text, n) };
    c.inline_bytes = (const uint8_t *)text;
    struct stamp st = far_stamp(kind, 0640, n);
    far_seen(path, &st, &c);
}
static inline void far_save(const char *path, const char *text) { far_inline(path, STAMP_FILE, text); }
static inline void far_link(const char *path, const char *target) { far_inline(path, STAMP_SYMLINK, target); }
static inline void far_dir(const char *path, uint32_t mode)
{
    struct stamp st = far_stamp(STAMP_DIR, mode, 0);
    far_seen(path, &st, NULL);
}
/* A file with the content that `like` has in the folder: saved anew, or renamed or copied with its times. */
static inline void far_file(const char *path, const char *like, bool same_times)
{
    int fd = open(full(like), O_RDONLY | O_CLOEXEC);
    struct stat st;
    OK(fstat(fd, &st));
    struct content_list c;
    _Atomic bool stop = false;
    OK(content_read(fd, (uint64_t)st.st_size, &w.gear, -1, &stop, &c));
    close(fd);
    struct stamp s = far_stamp(STAMP_FILE, same_times ? st.st_mode & 0777 : 0600, (uint64_t)st.st_size);
    if (same_times)
        s.mtime_ns = st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    far_seen(path, &s, &c);
    content_list_release(&c);
}
static inline void far_copy(const char *path, const char *like) { far_file(path, like, true); }
static inline void far_resave(const char *path, const char *like) { far_file(path, like, false); }
static inline void far_delete(const char *path)
{
    t_must(engine_begin(far.e));
    EQ_I(engine_gone(far.e, path, strlen(path), ++far.wall), 1);
    t_must(engine_commit(far.e, far.wall));
}

/* ---- passing entries on ---- */

static inline void entries_from(struct engine *a, size_t dev, struct engine *b)
{
    AUTO(buf_release) struct buf vec = BUF_INIT(LIMIT_BODY), body = BUF_INIT(LIMIT_BODY);
    t_must(engine_own_vector(a, far.wall, 1, &vec));
    t_must(engine_vector(b, vec.data, vec.len, NULL, NULL));
    engine_online(b, &w.g.dev[dev]->dev, true);
    struct fetch f;
    while (engine_next_fetch(b, &f)) {
        t_must(engine_serve_cs(a, f.range, f.n, LIMIT_CS_REPLY, &body));
        t_must(engine_begin(b));
        t_must(engine_change_sets(b, &w.g.dev[dev]->dev, body.data, body.len, far.wall));
        t_must(engine_commit(b, far.wall));
        engine_fetch_done(b, &f.dev);
    }
    engine_online(b, &w.g.dev[dev]->dev, false);
}
static inline int first_want(void *arg, const struct ix_want *row)
{
    *(struct ix_want *)arg = *row;
    return 1;
}
/* The far device learns what this one knows, and its imaginary disk shows it. */
static inline void to_far(void)
{
    struct ix_want want;
    entries_from(w.e, 0, far.e);
    while (index_want_each(far.ix, 0, first_want, &want) == 1) {
        struct ix_entry row;
        AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
        AUTO(entry_release) struct entry ent = { 0 };
        t_must(engine_entry(far.e, want.entry, &raw, &ent, &row));
        static const enum stamp_kind kinds[] = { [KIND_FILE] = STAMP_FILE, [KIND_DIR] = STAMP_DIR, [KIND_SYMLINK] = STAMP_SYMLINK,
                                                 [KIND_TOMBSTONE] = STAMP_ABSENT };
        struct stamp st = far_stamp(kinds[ent.kind], ent.mode, ent.size);
        st.mtime_ns = ent.mtime_ns;
        t_must(engine_begin(far.e));
        t_must(engine_installed(far.e, want.entry, &st, true));
        t_must(engine_commit(far.e, far.wall));
    }
}
static inline bool nothing_wanted(void *arg)
{
    uint64_t n, bytes;
    (void)arg;
    return index_want_totals(w.ix, &n, &bytes) == 0 && n == 0 && pull_idle(far.pull) && (!w.scan || quiet(NULL));
}
/* This device learns what the far one knows, and begins to put it into its folder. */
static inline void from_far(void)
{
    entries_from(far.e, 1, w.e);
    pull_kick(far.pull);
}
static inline void take_all(void)
{
    from_far();
    UNTIL(w.loop, nothing_wanted, NULL);
}
static inline uint64_t conflicts(void)
{
    uint64_t n;
    t_must(index_conflict_count(w.ix, &n));
    return n;
}
/* A scan finds nothing that this device should announce as its own. */
static inline void no_echo(void)
{
    uint64_t before = authored();
    scan_again();
    UNTIL(w.loop, nothing_wanted, NULL);
    EQ_U(authored(), before);
}
#endif
