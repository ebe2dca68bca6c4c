/* Notes among three engines: they travel, nothing ends them, and nobody says one for another. */
#include "proto/path.h"
#include "tests/unit/t_clock.h"
#include "tests/unit/t_forge.h"
#include "tests/unit/t_forget.h"

static void say(struct world *w, size_t i, const char *what)
{
    must(engine_begin(w->d[i].e));
    must(engine_note(w->d[i].e, &(struct note){.what = NOTE_STR(what)}, ++w->wall));
    commit(w, i);
}

struct heard { struct world *w; char text[256]; };
static int hear_one(void *arg, const struct told *n)
{
    struct heard *h = arg;
    size_t who = 0;
    while (!id_eq(n->dev, &h->w->d[who].keys->dev))
        who++;
    size_t len = strlen(h->text);
    snprintf(h->text + len, sizeof h->text - len, "%zu:%.*s ", who, (int)n->note.what.len, (const char *)n->note.what.p);
    return 0;
}
/* "0:a 0:b 1:c " sorted by the hashes that they are called by, so to be looked into */
static bool knows(struct world *w, size_t i, const char *what)
{
    struct heard h = {.w = w};
    must(engine_notes(w->d[i].e, hear_one, &h));
    return strstr(h.text, what);
}
static size_t count(struct world *w, size_t i)
{
    struct heard h = {.w = w};
    size_t n = 0;
    must(engine_notes(w->d[i].e, hear_one, &h));
    for (const char *p = h.text; *p; p++)
        n += *p == ':';
    return n;
}

static void test_travel(void)
{
    struct world *w = world_new();
    say(w, 0, "first");
    must(engine_begin(w->d[0].e));                  /* several at once, beside what they tell of */
    for (int i = 0; i < 3; i++)
        must(engine_note(w->d[0].e, &(struct note){.what = NOTE_STR("many")}, w->wall));
    commit(w, 0);
    save(w, 1, "a", "x");
    say(w, 1, "second");
    everybody_hears(w);
    for (size_t i = 0; i < DEVICES; i++) {
        EQ_U(count(w, i), 5);
        CHECK(knows(w, i, "0:first") && knows(w, i, "1:second"));
        same_fingerprint(w, i, 0);
    }
    uint64_t files, bytes, wants;
    engine_totals(w->d[2].e, &files, &bytes);
    EQ_U(files, 1);
    must(index_want_totals(w->d[2].ix, &wants, &bytes));
    EQ_U(wants, 0);                                 /* nothing of it is put on a disk */
    must(index_conflict_count(w->d[2].ix, &wants));
    EQ_U(wants, 0);
    world_free(w);
}

static void test_nobody_forgets(void)
{
    struct world *w = world_new();
    say(w, 0, "said");
    save(w, 0, "a", "1");
    save(w, 0, "a", "2");
    everybody_hears(w);
    w->wall += 1000;
    CHECK(forget_all(w, 1) > 0 && count(w, 1) == 1);
    everybody_hears(w);
    CHECK(forget_all(w, 1) == 0 && count(w, 1) == 1);
    world_free(w);
}

/* Only notes may lie there, and they supersede nothing: a second one of that name stands beside the first. */
static void test_nothing_ends_them(void)
{
    struct world *w = world_new();
    say(w, 0, "mine");
    struct dot d = {*engine_own_sid(w->d[0].e), 1};
    struct ix_entry row;
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1), content = BUF_INIT(LIMIT_NOTE);
    must(index_entry_at(w->d[0].ix, engine_stream_by_sid(w->d[0].e, &d.sid)->row.id, 1, &row, NULL));
    must(index_path_get(w->d[0].ix, row.path, &name, NULL));
    note_encode(&content, &(struct note){.what = NOTE_STR("forged")});
    struct pen p = pen_new(w, 2, 9);
    struct entry ent = {.kind = KIND_NOTE, .path = {name.data, name.len}, .size = content.len, .v.hlc = hlc_make(w->wall + 5, 0),
                        .content = {.type = CONTENT_INLINE, .inline_bytes = {content.data, content.len}}};
    w->wall += 10;
    pen_entry(&p, &ent);
    pen_seal(&p);
    EQ_I(hear(w, 0, 2, (struct pen *[]){&p}, 1), 1);
    CHECK(count(w, 0) == 2 && knows(w, 0, "0:mine") && knows(w, 0, "2:forged"));
    pen_release(&p);
    world_free(w);
}

/* Of a stream that has ended, files are signed again by whoever has them. What somebody said of himself is his to sign. */
static void test_others_sign_none(void)
{
    struct world *w = world_new();
    struct pen one = pen_new(w, 2, 9), two = pen_new(w, 2, 9);
    AUTO(buf_release) struct buf content = BUF_INIT(LIMIT_NOTE);
    note_encode(&content, &(struct note){.what = NOTE_STR("said")});
    const char *path = PATH_NOTES "/0123456789abcdef0123456789abcdef";
    struct entry ent = {.kind = KIND_NOTE, .path = {(const uint8_t *)path, PATH_NOTE_LEN}, .size = content.len, .v.hlc = hlc_make(w->wall, 1),
                        .content = {.type = CONTENT_INLINE, .inline_bytes = {content.data, content.len}}};
    pen_file(&one, "a", "x");
    pen_entry(&one, &ent);
    pen_seal(&one);
    pen_file(&two, "b", "y");
    pen_seal(&two);
    EQ_I(hear(w, 0, 2, (struct pen *[]){&one}, 1), 2);
    EQ_U(count(w, 0), 1);
    EQ_I(prove(w, 0, &one, &two), 1);
    EQ_U(count(w, 0), 0);
    EQ_I(pull_entries(w, 0, 1), 1);                 /* the file */
    world_free(w);
    pen_release(&one);
    pen_release(&two);
}

/* But what is signed again because it was dated in the future is said again, by the same device and under the same name. */
static void test_its_device_signs_it_again(void)
{
    struct world *w = world_new();
    say(w, 0, "before");
    uint64_t now = w->wall;
    w->wall += 10 * YEAR_MS;
    say(w, 0, "early");
    w->wall = now + 1000;
    meet_clock(w, 1, 0);
    EQ_I(look_at_clock(w, 0), 1);
    CHECK(count(w, 0) == 2 && knows(w, 0, "0:before") && knows(w, 0, "0:early"));
    EQ_I(pull_entries(w, 0, 1), 2);
    CHECK(count(w, 1) == 2 && knows(w, 1, "0:early"));
    world_free(w);
}

/* Readers sign nothing. */
static void test_a_reader_is_not_heard(void)
{
    struct world *w = world_new();
    w->group.member[1].role = ROLE_READER;
    say(w, 1, "unheard");
    EQ_U(count(w, 1), 0);
    EQ_I(pull_entries(w, 1, 0), 0);
    world_free(w);
}

static void test_no_part_of_the_folder(void)
{
    struct world *w = world_new();
    bool changed;
    save(w, 0, "a", "1");
    must(engine_begin(w->d[0].e));
    must(engine_snapshot_create(w->d[0].e, "s", ++w->wall));
    commit(w, 0);
    const struct snapshot *v;
    size_t n;
    say(w, 0, "since");
    must(engine_snapshots(w->d[0].e, &v, &n));
    EQ_U(n, 1);
    must(engine_changed_since(w->d[0].e, &v->vector, &changed));
    CHECK(!changed);
    world_free(w);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    RUN(test_travel);
    RUN(test_nobody_forgets);
    RUN(test_nothing_ends_them);
    RUN(test_others_sign_none);
    RUN(test_its_device_signs_it_again);
    RUN(test_a_reader_is_not_heard);
    RUN(test_no_part_of_the_folder);
    return t_done();
}
