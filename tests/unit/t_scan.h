/* t_scan: a real folder that one device scans, for the tests of node/scan*.c. */
#ifndef TESTS_UNIT_T_SCAN_H
#define TESTS_UNIT_T_SCAN_H

#include <stdatomic.h>

#include "node/engine.h"
#include "node/scan.h"
#include "tests/unit/folder_fixture.h"
#include "tests/unit/t_node.h"

struct said { char path[64][80], text[64][200]; size_t n; };
static struct world {
    struct t_group g;
    struct loop *loop; struct pool *pool; struct index *ix; struct engine *e; struct scan *scan; struct gear gear;
    struct said trouble;
    char failed[300];
    unsigned failures, committed;
    const char *busy;
    bool own_rules;                      /* what was last said of them */
    bool (*also_busy)(const char *path, size_t len);
    void (*also_committed)(void *arg);
} w;

static inline bool on_busy(void *arg, const char *path, size_t len)
{
    (void)arg;
    if (w.also_busy && w.also_busy(path, len))
        return true;
    return w.busy && strlen(w.busy) == len && memcmp(w.busy, path, len) == 0;
}
static inline void on_committed(void *arg)
{
    w.committed++;
    if (w.also_committed)
        w.also_committed(arg);
}
static inline void on_trouble(void *arg, const char *path, size_t len, const char *text)
{
    (void)arg;
    CHECK(w.trouble.n < 64);
    snprintf(w.trouble.path[w.trouble.n], 80, "%.*s", (int)len, path);
    snprintf(w.trouble.text[w.trouble.n++], 200, "%s", text);
}
static inline void on_rules(void *arg, const struct id *hash, bool own)
{
    (void)arg, (void)hash;
    w.own_rules = own;
}
static inline void on_failed(void *arg, const char *text)
{
    (void)arg;
    w.failures += text != NULL;
    snprintf(w.failed, sizeof w.failed, "%s", text ? text : "");
}

static inline void scan_start(void)
{
    t_must(pool_new(w.loop, 3, &w.pool));
    struct scan_config c = { .loop = w.loop, .pool = w.pool, .folder = folder, .engine = w.e, .index = w.ix, .gear = &w.gear,
                             .group = &w.g.group,
                             .ops = { .busy = on_busy, .committed = on_committed, .trouble = on_trouble, .rules = on_rules, .failed = on_failed } };
    t_must(scan_new(&c, &w.scan));
}
static inline void scan_end(void)
{
    pool_free(&w.pool);
    scan_free(&w.scan);
}

/* Also after a failed test; so it is what a test begins with, and what main ends with. */
static inline void world_end(void)
{
    scan_end();
    engine_free(&w.e);
    index_close(&w.ix);
    loop_free(&w.loop);
    if (w.g.keys)
        t_group_release(&w.g);
    w = (struct world){ 0 };
    finish_all();
}
static inline void world_begin(void)
{
    world_end();
    begin();
    t_group_init(&w.g, 1);
    chunk_gear(&w.gear, w.g.keys->k_group);
    t_must(loop_new(&w.loop));
    t_must(index_open(":memory:", &w.g.group.id, false, &w.ix));
    struct engine_config c = { .index = w.ix, .group = &w.g.group, .keys = w.g.dev[0], .inst = { 1 } };
    t_must(engine_new(&c, &w.e));
}

/* ---- waiting ---- */
static inline bool quiet(void *arg)
{
    (void)arg;
    return scan_first_done(w.scan) && scan_idle(w.scan);
}
static inline void settle(void) { UNTIL(w.loop, quiet, NULL); }
static inline void scan_again(void)
{
    scan_all(w.scan);
    settle();
}
/* The first look at what a test has put into the folder. */
static inline void first_scan(void)
{
    scan_start();
    settle();
}

/* ---- what the engine has been told ---- */
static inline uint64_t authored(void)
{
    const struct sid *sid = engine_own_sid(w.e);
    return sid ? engine_known_of(w.e, sid) : 0;
}
/* How many files the notes say to have been deleted at once, and how many notes there are. */
static inline int add_noted(void *arg, const struct told *t)
{
    uint64_t *sum = arg;
    sum[0]++;
    sum[1] += t->note.deleted;
    return 0;
}
static inline uint64_t notes(uint64_t *deleted)
{
    uint64_t sum[2] = {0};
    OK(engine_notes(w.e, add_noted, sum));
    *deleted = sum[1];
    return sum[0];
}
static inline bool local_of(const char *path, struct ix_local *l)
{
    int64_t id;
    return index_path_id(w.ix, path, strlen(path), false, &id) == 0 && index_local_get(w.ix, id, l) == 0;
}
static inline bool on_disk(const char *path)
{
    struct ix_local l;
    return local_of(path, &l);
}
static inline bool is_settled(void *path)
{
    struct ix_local l;
    return quiet(NULL) && local_of(path, &l) && l.settled;
}
/* Until the scanner takes the times of a path (or two) for a proof. */
static inline void wait_settled(char *a, char *b)
{
    UNTIL(w.loop, is_settled, a);
    if (b)
        UNTIL(w.loop, is_settled, b);
}
static inline bool is_there(void *path) { return on_disk(path); }
/* The version that lies at a path. */
static inline struct ix_entry version(const char *path)
{
    struct ix_local l;
    struct ix_entry row;
    CHECK(local_of(path, &l));
    t_must(index_entry_get(w.ix, l.entry, &row, NULL));
    return row;
}
static inline bool is_deleted(const char *path)
{
    int64_t id, winner;
    struct ix_entry row;
    return index_path_id(w.ix, path, strlen(path), false, &id) == 0 && index_path_get(w.ix, id, NULL, &winner) == 0 &&
           index_entry_get(w.ix, winner, &row, NULL) == 0 && row.kind == KIND_TOMBSTONE;
}
/* The inline content of a version. */
static inline const char *text_of(const char *path)
{
    static char text[LIMIT_INLINE + 1];
    struct ix_entry row = version(path);
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry ent = { 0 };
    t_must(engine_entry(w.e, row.id, &raw, &ent, &row));
    snprintf(text, sizeof text, "%.*s", (int)ent.content.inline_bytes.len, (const char *)ent.content.inline_bytes.p);
    return text;
}
/* A file of n bytes that do not compress, different for each seed, a while ago. */
static inline void put_big(const char *path, size_t n, uint64_t seed)
{
    AUTOFREE char *data = xcalloc(n + 8, 1);
    for (size_t i = 0; i < n; i += 8) {
        uint64_t r = t_rand(&seed);
        memcpy(data + i, &r, 8);
    }
    int fd = open(full(path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    CHECK(fd >= 0);
    EQ_I(write(fd, data, n), n);
    close(fd);
}
static inline void put_many(const char *dir, int from, int to)
{
    char path[80];
    for (int i = from; i < to; i++) {
        snprintf(path, sizeof path, "%s/%d", dir, i);
        edit(path, path);
    }
}
static inline void delete_many(const char *dir, int from, int to)
{
    char path[80];
    for (int i = from; i < to; i++) {
        snprintf(path, sizeof path, "%s/%d", dir, i);
        OK(unlink(full(path)));
    }
}
#endif
