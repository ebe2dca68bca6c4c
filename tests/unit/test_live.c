/* The live state with its proofs: served whole, and what a peer makes of it that was told, or remembers, something else. */
#include "proto/merkle.h"
#include "store/index_priv.h"
#include "tests/unit/t_forget.h"

static const struct bytes no_bound;

/* All pages of one device's live state for another one that takes them. */
static struct live_found audit(struct world *w, size_t from, size_t to)
{
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
    struct live_found all = {0}, page;
    uint64_t cursor = 0;
    do {
        must(engine_serve_live(w->d[from].e, &no_bound, &no_bound, cursor, &cursor, &body));
        must(engine_begin(w->d[to].e));
        must(engine_take_live(w->d[to].e, body.data, body.len, w->wall, &page));
        commit(w, to);
        all.items += page.items;
        all.restored += page.restored;
        all.deleted += page.deleted;
    } while (cursor);
    return all;
}

static size_t differing(struct world *w, size_t i)
{
    struct differing d;
    size_t at = 0, n = 0;
    for (size_t k = 0; k < DEVICES; k++)
        engine_online(w->d[i].e, &w->d[k].keys->dev, k != i);
    while (engine_next_differing(w->d[i].e, &at, &d)) {
        CHECK(id_eq(&d.ours, &w->d[i].e->now.fp) && !id_eq(&d.theirs, &d.ours));
        n++;
    }
    for (size_t k = 0; k < DEVICES; k++)
        engine_online(w->d[i].e, &w->d[k].keys->dev, false);
    return n;
}

/* ---- serving ---- */

struct served { size_t n, pages; char names[4096]; };
static void serve(struct world *w, size_t i, const char *from, const char *to, struct served *s)
{
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
    struct bytes low = {(const uint8_t *)from, strlen(from)}, high = {(const uint8_t *)to, strlen(to)};
    uint64_t cursor = 0;
    *s = (struct served){0};
    do {
        struct mp m;
        uint32_t n;
        must(engine_serve_live(w->d[i].e, &low, &high, cursor, &cursor, &body));
        must(body_open(body.data, body.len, &m, &n));
        CHECK(n == 1 || body.len <= 256 * 1024 + 16);
        for (uint32_t k = 0; k < n; k++, s->n++) {
            struct live_item it;
            struct header h;
            AUTO(entry_release) struct entry ent = {0};
            must(live_next(&m, &it));
            OK(live_verify(&it, &h));
            must(entry_decode(it.ent.p, it.ent.len, &ent));
            if (strlen(s->names) < sizeof s->names - 64)
                snprintf(s->names + strlen(s->names), 64, "%.*s ", (int)ent.path.len, (const char *)ent.path.p);
        }
        s->pages++;
    } while (cursor);
}

static void test_served_with_proofs(void)
{
    struct world *w = world_new();
    struct served s;
    serve(w, 0, "", "", &s);
    CHECK(s.n == 0 && s.pages == 1);
    save_many(w, 0, 9, "one");
    save_many(w, 0, 5, "two");
    delete(w, 0, "f003");
    everybody_hears(w);
    serve(w, 0, "", "", &s);
    EQ_U(s.n, 9);                               /* the deletion, too */
    EQ_S(s.names, "f005 f006 f007 f008 f000 f001 f002 f004 f003 ");
    EQ_U(forget_all(w, 0), 7);
    serve(w, 0, "", "", &s);
    EQ_S(s.names, "f005 f006 f007 f008 f000 f001 f002 f004 ");
    serve(w, 0, "f002", "f006", &s);
    EQ_S(s.names, "f005 f002 f004 ");
    serve(w, 0, "f002", "", &s);
    EQ_U(s.n, 6);
    serve(w, 0, "", "f0", &s);
    EQ_U(s.n, 0);
    world_free(w);
}

static void test_pages(void)
{
    struct world *w = world_new();
    struct served s;
    char text[LIMIT_INLINE + 1];
    memset(text, 'x', LIMIT_INLINE);
    text[LIMIT_INLINE] = 0;
    save_many(w, 0, 800, text);
    serve(w, 0, "", "", &s);
    EQ_U(s.n, 800);
    CHECK(s.pages >= 4 && s.pages <= 8);
    for (int k = 0; k < 150; k++) {             /* each in a change set of its own: no page reads all of them */
        char path[16];
        snprintf(path, sizeof path, "f%03d", k);
        save(w, 1, path, "y");
    }
    serve(w, 1, "", "", &s);
    EQ_U(s.n, 150);
    EQ_U(s.pages, 3);
    world_free(w);
}

/* A request that is answered with an entry of each change set has all of them read: but of great ones not many. */
static void test_a_page_reads_only_so_much(void)
{
    struct world *w = world_new();
    struct served s;
    struct content_list c = {.type = CONTENT_INLINE, .size = 1, .inline_len = 1, .root = id_hash("x", 1), .inline_bytes = (const uint8_t *)"x"};
    for (int set = 0; set < 3; set++) {
        must(engine_begin(w->d[0].e));
        for (int k = 0; k < (int)LIMIT_CS_COUNT; k++) {
            char path[16];
            int len = snprintf(path, sizeof path, "%c%05d", k ? 'd' : 's', k + set * 10000);
            struct stamp st = {.kind = STAMP_FILE, .mode = 0644, .dev = 1, .ino = ++w->wall, .size = 1, .mtime_ns = (int64_t)w->wall};
            must(engine_seen(w->d[0].e, path, (size_t)len, &st, &c, true, w->wall));
        }
        commit(w, 0);
    }
    serve(w, 0, "s", "", &s);
    EQ_S(s.names, "s00000 s10000 s20000 ");
    CHECK(s.pages >= 3);
    world_free(w);
}

/* ---- who differs ---- */

static void test_who_differs(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    everybody_hears(w);
    for (size_t i = 0; i < DEVICES; i++)
        EQ_U(differing(w, i), 0);
    save(w, 0, "a", "two");
    EQ_U(differing(w, 0), 0);                   /* they do not know it yet */
    EQ_U(differing(w, 1), 0);
    everybody_hears(w);
    w->d[1].e->now.fp.b[0] ^= 1;
    EQ_U(differing(w, 1), 2);
    EQ_U(differing(w, 0), 0);
    struct peer_vec *p = engine_peer_find(w->d[1].e, &w->d[0].keys->dev);
    p->vec.stream[0].known++;                   /* who knows more may show more */
    EQ_U(differing(w, 1), 1);
    p->vec.stream[0].known--;
    p->vec.stream[0].tip8[0] ^= 1;
    EQ_U(differing(w, 1), 1);
    pull_entries(w, 1, 0);
    EQ_U(differing(w, 0), 1);
    struct differing d;
    size_t at = 0;
    CHECK(!engine_next_differing(w->d[0].e, &at, &d));   /* he is not here */
    world_free(w);
}

/* ---- what others hid ---- */

/* Takes what device 0 knows and shows, with the entries of some leaves of its change set hidden in a run, as a liar would send it. */
static void take_hidden(struct world *w, size_t to, uint32_t first, uint32_t count)
{
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY), lie = BUF_INIT(LIMIT_BODY), items = BUF_INIT(LIMIT_BODY);
    struct msg_range r = {.sid = *engine_own_sid(w->d[0].e), .from = 1, .to = UINT64_MAX};
    struct mp m;
    uint32_t n, index = 0, nitems = 0;
    struct cs cs;
    struct id leaf[LIMIT_CS_COUNT];
    must(engine_serve_cs(w->d[0].e, &r, 1, LIMIT_CS_REPLY, &body));
    must(cs_body_open(body.data, body.len, &m, &n));
    EQ_U(n, 1);
    must(cs_next(&m, &cs));
    struct mp it = cs_items(&cs);
    for (uint32_t i = 0; i < cs.nitems; i++) {
        struct cs_item item;
        cs_item_next(&it, &index, &item);
        leaf[i] = merkle_leaf(item.ent.p, item.ent.len);
        if (i == first + count - 1) {
            struct id run = merkle_root(&leaf[first], count);
            cs_put_pruned(&items, first, count, &run);
            nitems++;
        } else if (i < first || i >= first + count) {
            cs_put_entry(&items, &item.ent);
            nitems++;
        }
    }
    mp_put_array(&lie, 1);
    cs_put_head(&lie, &cs.hdr, cs.sig, nitems);
    buf_add(&lie, items.data, items.len);
    must(engine_begin(w->d[to].e));
    must(engine_change_sets(w->d[to].e, &w->d[0].keys->dev, lie.data, lie.len, w->wall));
    commit(w, to);
    install(w, to);
}

static void test_what_was_hidden_comes_back(void)
{
    static const struct { uint32_t first, count; } hide[] = {{0, 8}, {4, 4}, {0, 4}, {6, 2}, {3, 1}, {0, 11}, {8, 3}, {10, 1}};
    for (size_t i = 0; i < sizeof hide / sizeof *hide; i++) {
        struct world *w = world_new();
        save_many(w, 0, 11, "text");
        pull_entries(w, 0, 2);
        install(w, 2);
        take_hidden(w, 1, hide[i].first, hide[i].count);
        EQ_U(runs_of(w, 1, 0).leaves, hide[i].count);
        pull_entries(w, 1, 2);
        pull_entries(w, 2, 1);
        EQ_U(differing(w, 1), 1);
        EQ_U(differing(w, 2), 1);
        struct live_found f = audit(w, 2, 1);
        EQ_U(f.items, 11);
        EQ_U(f.restored, hide[i].count);
        EQ_U(f.deleted, 0);
        EQ_U(runs_of(w, 1, 0).n, 0);
        same_fingerprint(w, 1, 2);
        install(w, 1);
        EQ_S(shows(w, 1, "f006"), "text");
        EQ_U(audit(w, 1, 2).restored, 0);
        EQ_U(audit(w, 2, 1).restored, 0);
        world_free(w);
    }
}

/* What the liar hid besides is not needed for the proof of the rest; it stays a run. */
static void test_a_part_of_a_run_comes_back(void)
{
    struct world *w = world_new();
    save_many(w, 0, 8, "one");
    pull_entries(w, 0, 2);
    take_hidden(w, 1, 0, 8);
    save_many(w, 0, 7, "two");
    everybody_hears(w);
    EQ_S(shows(w, 1, "f007"), "");
    EQ_U(forget_all(w, 2), 7);
    struct live_found f = audit(w, 2, 1);
    EQ_U(f.restored, 1);
    struct counted c = runs_of(w, 1, 0);
    CHECK(c.n == 3 && c.leaves == 7 && c.own == 0);
    same_fingerprint(w, 1, 2);
    EQ_I(pull_entries(w, 1, 2), 0);
    restart_empty(w, 0);                        /* and the runs that are left prove the change set */
    EQ_I(pull_entries(w, 1, 0), 15);
    same_fingerprint(w, 0, 1);
    world_free(w);
}

/* A conflict of which one was told that a version is dead: whoever deletes what he sees has not seen that one. */
static void test_a_deletion_spares_what_was_hidden(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "one");
    w->wall += 1000;
    save(w, 2, "a", "two");
    take_hidden(w, 1, 0, 1);
    pull_entries(w, 2, 0);
    install(w, 0);
    w->wall += 1000;
    save(w, 0, "a", "three");                   /* an edit of "two"; "one" is of the same stream */
    pull_entries(w, 2, 1);
    pull_entries(w, 0, 1);
    install(w, 1);
    EQ_S(shows(w, 1, "a"), "three");
    delete(w, 1, "a");
    everybody_hears(w);
    EQ_S(shows(w, 0, "a"), "one");
    EQ_U(audit(w, 2, 1).restored, 1);
    install(w, 1);
    EQ_S(shows(w, 1, "a"), "one");
    same_fingerprint(w, 0, 1);
    world_free(w);
}

/* ---- what went back ---- */

static void copy_index(sqlite3 *from, sqlite3 *to)
{
    sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");
    CHECK(b && sqlite3_backup_step(b, -1) == SQLITE_DONE && sqlite3_backup_finish(b) == SQLITE_OK);
}

/* "a" is deleted and forgotten by devices 0 and 1; device 2 has its index of before that. */
static struct world *gone_back(void)
{
    struct world *w = world_new();
    sqlite3 *before;
    save(w, 0, "a", "one");
    save(w, 0, "b", "other");
    everybody_hears(w);
    CHECK(sqlite3_open(":memory:", &before) == SQLITE_OK);
    copy_index(w->d[2].ix->db, before);
    delete(w, 0, "a");
    everybody_hears(w);
    EQ_U(forget_all(w, 0), 2);
    EQ_U(forget_all(w, 1), 2);
    copy_index(before, w->d[2].ix->db);
    sqlite3_close(before);
    restart(w, 2);
    EQ_I(pull_entries(w, 0, 2), 1);             /* a run, in which the deletion is */
    EQ_S(shows(w, 2, "a"), "one");
    pull_entries(w, 2, 0);
    pull_entries(w, 2, 1);
    return w;
}

static void test_who_has_gone_back_is_told_again(void)
{
    struct world *w = gone_back();
    EQ_U(differing(w, 0), 1);
    EQ_U(audit(w, 0, 2).restored, 0);
    struct live_found f = audit(w, 2, 0);
    CHECK(f.items == 2 && f.deleted == 1 && f.restored == 0);
    EQ_U(audit(w, 2, 0).deleted, 0);
    pull_entries(w, 0, 1);
    EQ_U(audit(w, 2, 1).deleted, 0);            /* one deletion is enough */
    everybody_hears(w);
    EQ_S(shows(w, 2, "a"), "");
    for (size_t i = 0; i < DEVICES; i++)
        EQ_U(differing(w, i), 0);
    EQ_U(forget_all(w, 0), 1);                  /* as any deletion */
    EQ_U(entries_of(w, 0, "a"), 0);
    world_free(w);
}

static void test_what_lives_there_goes_on(void)
{
    struct world *w = gone_back();
    save(w, 1, "a", "new");
    everybody_hears(w);
    EQ_U(conflicts(w, 2), 1);
    EQ_U(audit(w, 2, 1).deleted, 1);
    everybody_hears(w);
    for (size_t i = 0; i < DEVICES; i++) {
        EQ_S(shows(w, i, "a"), "new");
        EQ_U(conflicts(w, i), 0);
        EQ_U(differing(w, i), 0);
    }
    world_free(w);
}

/* Authors a version of "a" that supersedes one dot, but not another one. */
static void write_over(struct world *w, size_t i, enum kind kind, const struct dot *dead, const struct dot *lives)
{
    struct entry ent = {.kind = kind, .path = {(const uint8_t *)"a", 1}, .mode = kind == KIND_DIR ? 0755 : 0};
    int64_t path, id;
    if (dead)
        ctx_raise(&ent.v.ctx, &dead->sid, dead->seq);
    dots_add(&ent.v.except, lives);
    w->wall++;
    must(engine_begin(w->d[i].e));
    must(index_path_id(w->d[i].ix, "a", 1, true, &path));
    must(author(w->d[i].e, &ent, path, w->wall, &id));
    must(state_update(w->d[i].e, path));
    commit(w, i);
    entry_release(&ent);
}

/* What is deleted again is named by its number, and a smaller number of that stream lives at the path. */
static void test_an_older_one_of_that_stream_goes_on(void)
{
    struct world *w = world_new();
    sqlite3 *before;
    save(w, 0, "a", "lives");
    struct dot lives = {*engine_own_sid(w->d[0].e), 1}, dead = {lives.sid, 2};
    write_over(w, 0, KIND_DIR, NULL, &lives);
    everybody_hears(w);
    CHECK(sqlite3_open(":memory:", &before) == SQLITE_OK);
    copy_index(w->d[2].ix->db, before);
    write_over(w, 1, KIND_TOMBSTONE, &dead, &lives);
    everybody_hears(w);
    EQ_U(forget_all(w, 0), 2);
    EQ_U(forget_all(w, 1), 2);
    copy_index(before, w->d[2].ix->db);
    sqlite3_close(before);
    restart(w, 2);
    pull_entries(w, 1, 2);
    EQ_U(entries_of(w, 2, "a"), 2);
    pull_entries(w, 2, 0);
    EQ_U(audit(w, 2, 0).deleted, 1);
    everybody_hears(w);
    for (size_t i = 0; i < DEVICES; i++) {
        EQ_S(shows(w, i, "a"), "lives");
        EQ_U(differing(w, i), 0);
    }
    world_free(w);
}

static void test_a_reader_deletes_nothing(void)
{
    struct world *w = gone_back();
    w->group.member[1].role = ROLE_READER;
    EQ_U(audit(w, 2, 1).deleted, 0);
    CHECK(!engine_own_sid(w->d[1].e));
    world_free(w);
}

/* ---- what is not genuine ---- */

/* The first item of device 0's live state, changed in one way; what device 1 makes of it. */
static int take_lie(struct world *w, int what, struct live_found *f)
{
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY), lie = BUF_INIT(LIMIT_BODY);
    struct mp m;
    uint32_t n;
    uint64_t next;
    struct live_item it;
    uint8_t sig[SIG_LEN], ent[256];
    must(engine_serve_live(w->d[0].e, &no_bound, &no_bound, 0, &next, &body));
    must(body_open(body.data, body.len, &m, &n));
    must(live_next(&m, &it));
    memcpy(sig, it.sig, sizeof sig);
    CHECK(it.ent.len <= sizeof ent);
    memcpy(ent, it.ent.p, it.ent.len);
    switch (what) {
    case 1: it.proof[0].b[0] ^= 1; break;
    case 2: it.index++; break;
    case 3: it.index += 4; break;
    case 4: it.nproof--; break;
    case 5: sig[0] ^= 1; it.sig = sig; break;
    case 6: ent[it.ent.len - 1] ^= 1; it.ent.p = ent; break;
    }
    mp_put_array(&lie, 1);
    live_put(&lie, &it);
    if (what == 7)
        mp_put_nil(&lie);
    must(engine_begin(w->d[1].e));
    int r = engine_take_live(w->d[1].e, lie.data, lie.len, w->wall, f);
    engine_rollback(w->d[1].e);
    return r;
}

static void test_lies_are_refused(void)
{
    struct world *w = world_new();
    struct live_found f;
    save_many(w, 0, 4, "text");
    EQ_I(take_lie(w, 0, &f), 0);
    EQ_U(f.restored, 0);                        /* of a change set that is not here: nothing follows */
    take_hidden(w, 1, 0, 4);
    for (int what = 1; what <= 7; what++) {
        int r = take_lie(w, what, &f);
        if (r != ERR_BAD && !(what == 5 && r == ERR_DENIED))
            T_FAIL("lie %d: %d", what, r);
        EQ_U(runs_of(w, 1, 0).n, 1);
    }
    EQ_I(take_lie(w, 0, &f), 0);
    EQ_U(f.restored, 1);
    EQ_U(runs_of(w, 1, 0).n, 1);                /* rolled back */
    EQ_U(entries_of(w, 1, "f000"), 0);
    world_free(w);
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    RUN(test_served_with_proofs);
    RUN(test_pages);
    RUN(test_a_page_reads_only_so_much);
    RUN(test_who_differs);
    RUN(test_what_was_hidden_comes_back);
    RUN(test_a_part_of_a_run_comes_back);
    RUN(test_a_deletion_spares_what_was_hidden);
    RUN(test_who_has_gone_back_is_told_again);
    RUN(test_what_lives_there_goes_on);
    RUN(test_an_older_one_of_that_stream_goes_on);
    RUN(test_a_reader_deletes_nothing);
    RUN(test_lies_are_refused);
    return t_done();
}
