/* What is found after an index was lost: contents that no version names become versions that have ended; old copies of what has been
 * deleted or changed since come to the end that those had. */
#include "proto/hlc.h"
#include "tests/unit/t_engine.h"

static void find(struct world *w, size_t i, const char *path, const char *text, uint64_t ms)
{
    size_t n = strlen(text);
    struct content_list c = {.type = CONTENT_INLINE, .size = n, .inline_len = n, .root = id_hash(text, n)};
    c.inline_bytes = (const uint8_t *)text;
    struct stamp st = {.kind = STAMP_FILE, .mode = 0600, .size = n, .mtime_ns = (int64_t)ms * 1000000};
    int64_t entry;
    must(engine_begin(w->d[i].e));
    EQ_I(engine_found(w->d[i].e, path, strlen(path), &st, &c, &entry, w->wall), 1);
    commit(w, i);
}

static int is_any(void *arg, const struct ix_entry *row) { *(struct ix_entry *)arg = *row; return 1; }

/* Whether device i knows a version with that content: 1 = it is live. */
static int names(struct world *w, size_t i, const char *text)
{
    struct id root = id_hash(text, strlen(text));
    struct ix_entry row;
    int r = index_entry_by_root(w->d[i].ix, &root, is_any, &row);
    must(r);
    return r ? row.live : -1;
}

static bool deleted(struct world *w, size_t i, const char *path)
{
    int64_t id, winner;
    struct ix_entry row;
    must(index_path_id(w->d[i].ix, path, strlen(path), false, &id));
    must(index_path_get(w->d[i].ix, id, NULL, &winner));
    must(index_entry_get(w->d[i].ix, winner, &row, NULL));
    return row.kind == KIND_TOMBSTONE;
}

/* Neither what this device has written nor what another has is touched, whatever the times. */
static void test_nothing_else_changes(void)
{
    for (size_t author = 0; author < 2; author++)
        for (int later = 0; later < 2; later++) {
            struct world *w = world_new();
            EQ_I(save(w, author, "f", "there"), 1);
            pull_entries(w, author, 1 - author);
            install(w, 1 - author);
            find(w, 0, "f", "found", later ? w->wall + 60000 : 1600000000000);
            pull_entries(w, 0, 1);
            for (size_t i = 0; i < 2; i++) {
                EQ_U(install(w, i), 0);
                EQ_S(shows(w, i, "f"), "there");
                EQ_U(conflicts(w, i), 0);
                EQ_I(names(w, i, "found"), 0);
                EQ_I(names(w, i, "there"), 1);
            }
            world_free(w);
        }
}

static void test_what_is_deleted_or_unknown_stays_so(void)
{
    struct world *w = world_new();
    save(w, 1, "f", "was there");
    delete(w, 1, "f");
    pull_entries(w, 1, 0);
    install(w, 0);
    find(w, 0, "f", "found", w->wall);
    find(w, 0, "f", "found too", 1600000000000);
    find(w, 0, "never/heard/of", "a third", 0);
    pull_entries(w, 0, 1);
    for (size_t i = 0; i < 2; i++) {
        install(w, i);
        EQ_S(shows(w, i, "f"), "");
        CHECK(deleted(w, i, "f") && deleted(w, i, "never/heard/of"));
        CHECK(names(w, i, "found") == 0 && names(w, i, "found too") == 0 && names(w, i, "a third") == 0);
        EQ_U(conflicts(w, i), 0);
    }
    world_free(w);
}

/* Work goes on, on both sides, and one does not get in the way of the other. */
static void test_edits_go_on(void)
{
    struct world *w = world_new();
    save(w, 0, "f", "one");
    pull_entries(w, 0, 1);
    install(w, 1);
    save(w, 1, "f", "two");
    find(w, 0, "f", "found", w->wall);
    pull_entries(w, 0, 1);
    pull_entries(w, 1, 0);
    install(w, 0);
    EQ_S(shows(w, 0, "f"), "two");
    save(w, 0, "f", "three");
    pull_entries(w, 0, 1);
    install(w, 1);
    EQ_S(shows(w, 1, "f"), "three");
    delete(w, 1, "f");
    pull_entries(w, 1, 0);
    install(w, 0);
    EQ_S(shows(w, 0, "f"), "");
    CHECK(deleted(w, 0, "f"));
    EQ_U(conflicts(w, 0) + conflicts(w, 1), 0);
    world_free(w);
}

/* At no time was it what was to be seen but its own. */
static void test_it_has_ended_at_once(void)
{
    struct world *w = world_new();
    find(w, 0, "f", "found", 1600000000000);
    int64_t path, winner;
    struct ix_entry row;
    must(index_path_id(w->d[0].ix, "f", 1, false, &path));
    must(index_path_get(w->d[0].ix, path, NULL, &winner));
    must(index_entry_get(w->d[0].ix, winner, &row, NULL));
    EQ_U(hlc_ms(row.hlc), 1600000000000);
    world_free(w);
}

/* ---- what is found in doubt, and what others know of it ---- */

static struct stamp old_stamp(const char *text)
{
    return (struct stamp){.kind = STAMP_FILE, .mode = 0644, .dev = 1, .ino = 7, .size = strlen(text), .mtime_ns = 1600000000000000000};
}

static void see(struct world *w, size_t i, const char *path, const char *text)
{
    struct content_list c = {.type = CONTENT_INLINE, .size = strlen(text), .inline_len = strlen(text), .root = id_hash(text, strlen(text))};
    c.inline_bytes = (const uint8_t *)text;
    struct stamp st = old_stamp(text), dir = {.kind = STAMP_DIR, .mode = 0755, .dev = 1, .ino = 8};
    must(engine_begin(w->d[i].e));
    must(engine_seen(w->d[i].e, path, strlen(path), *text ? &st : &dir, *text ? &c : NULL, true, w->wall));
    commit(w, i);
}

static void lose_index(struct world *w, size_t i, uint8_t inst)
{
    engine_free(&w->d[i].e);
    index_close(&w->d[i].ix);
    device_start(w, i, inst);
    must(engine_begin(w->d[i].e));
    must(engine_doubt(w->d[i].e));
    commit(w, i);
}

/* f has been deleted, d with it, g was changed; new has not been heard of. All are found as they were. */
static struct world *found_again(void)
{
    struct world *w = world_new();
    see(w, 0, "d", "");
    see(w, 0, "f", "one");
    see(w, 0, "g", "one");
    pull_entries(w, 0, 1);
    install(w, 1);
    delete(w, 1, "f");
    delete(w, 1, "d");
    save(w, 1, "g", "two");
    lose_index(w, 0, 9);
    see(w, 0, "d", "");
    see(w, 0, "f", "one");
    see(w, 0, "g", "one");
    see(w, 0, "new", "one");
    return w;
}

static void test_an_old_copy_brings_nothing_back(void)
{
    struct world *w = found_again();
    pull_entries(w, 0, 2);
    pull_entries(w, 1, 0);
    pull_entries(w, 0, 1);
    pull_entries(w, 0, 2);
    pull_entries(w, 1, 2);
    for (size_t i = 0; i < 3; i++) {
        install(w, i);
        CHECK(deleted(w, i, "f") && deleted(w, i, "d"));
        EQ_S(shows(w, i, "g"), "two");
        EQ_S(shows(w, i, "new"), "one");
        EQ_U(conflicts(w, i), 0);
    }
    world_free(w);
}

/* Also when who knows of it is met at the next start only. */
static void test_it_is_remembered(void)
{
    struct world *w = found_again();
    engine_free(&w->d[0].e);
    struct engine_config c = {.index = w->d[0].ix, .group = &w->group, .keys = w->d[0].keys, .inst = {10}};
    must(engine_new(&c, &w->d[0].e));
    pull_entries(w, 1, 0);
    CHECK(deleted(w, 0, "f") && deleted(w, 0, "d"));
    world_free(w);
}

/* What somebody has worked on since is no old copy. */
static void test_work_on_an_old_copy_stays(void)
{
    struct world *w = found_again();
    engine_sure(w->d[0].e);
    save(w, 0, "f", "edited");
    pull_entries(w, 0, 2);
    install(w, 2);
    save(w, 2, "g", "edited");
    pull_entries(w, 2, 0);
    pull_entries(w, 1, 0);
    install(w, 0);
    EQ_S(shows(w, 0, "f"), "edited");
    EQ_S(shows(w, 0, "g"), "edited");
    EQ_U(conflicts(w, 0), 1);
    world_free(w);
}

int main(void)
{
    must(keys_init());
    RUN(test_nothing_else_changes);
    RUN(test_what_is_deleted_or_unknown_stays_so);
    RUN(test_edits_go_on);
    RUN(test_it_has_ended_at_once);
    RUN(test_an_old_copy_brings_nothing_back);
    RUN(test_it_is_remembered);
    RUN(test_work_on_an_old_copy_stays);
    return t_done();
}
