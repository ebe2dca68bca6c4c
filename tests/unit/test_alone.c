/* What it is on this device to keep: of which versions that is so (node/engine.h), which of them are chosen (store/index.h), and that they are
 * packed before they are overwritten, and no longer than needed (node/keeper.h). */
#include <sys/statvfs.h>

#include "node/engine_priv.h"
#include "tests/unit/t_keeper.h"

enum { BIG = 300000, SHARE = 2, LARGE = 17 << 20 };     /* share: the half of the disk; large: more than what is kept of unedited files that others have */

/* Nothing but a hole behind its first bytes. */
static void put_large(const char *path, uint64_t seed)
{
    put_big(path, 8, seed);
    OK(truncate(full(path), LARGE));
}

/* ---- who has what ---- */

/* The other member says that it knows `known` numbers of a stream, and has the contents of `content`. */
static void told_of(const struct sid *sid, uint64_t known, uint64_t content, uint8_t inst, uint64_t flags)
{
    AUTO(buf_release) struct buf blob = BUF_INIT(LIMIT_BODY);
    struct vec_stream s = {.sid = *sid, .known = known, .content = content};
    struct vec v = {.group = w.g.group.id, .dev = w.g.dev[1]->dev, .inst = {inst}, .ctr = known + content, .wall_ms = loop_wall(),
                    .ctl_n = w.g.group.ctl_n, .ctl_hash = w.g.group.ctl_hash, .stream = &s, .nstream = 1, .flags = flags};
    t_must(vec_encode(&blob, &v, w.g.dev[1]));
    EQ_I(engine_vector(w.e, blob.data, blob.len, NULL, NULL), 1);
}

static void told_with(uint64_t known, uint64_t content, uint8_t inst, uint64_t flags) { told_of(engine_own_sid(w.e), known, content, inst, flags); }
static void told(uint64_t known, uint64_t content, uint8_t inst) { told_with(known, content, inst, ~(uint64_t)VEC_PARTIAL & 0xff); }

static void fresh_pair(void)
{
    keeper_end();
    world_begin();
    t_group_add(&w.g, 1);
    scan_start();
    keeper_start(30, 50);
}

/* The first number that nobody else has; 0: there is none. */
static uint64_t alone_from(void)
{
    struct own_range r[4];
    size_t n = engine_charge(w.e, true, r, 4);
    EQ_U(n, authored() > 0);
    if (n == 0)
        return 0;
    EQ_U(r[0].from, 1);
    EQ_U(r[0].to, authored());
    while (r[0].from <= r[0].to && engine_elsewhere(w.e, r[0].stream, r[0].from))
        r[0].from++;
    return r[0].from <= r[0].to ? r[0].from : 0;
}

static void test_vectors_tell(void)
{
    fresh_pair();
    EQ_U(alone_from(), 0);
    put_many("", 0, 3);
    scan_again();
    EQ_U(authored(), 3);
    EQ_U(alone_from(), 1);
    told(3, 1, 1);
    EQ_U(alone_from(), 2);
    int64_t stream = version("1").stream;
    CHECK(engine_elsewhere(w.e, stream, 1) && !engine_elsewhere(w.e, stream, 2));
    told(3, 3, 1);
    EQ_U(alone_from(), 0);
    t_group_revoke(&w.g, 1);           /* it counts no more */
    EQ_U(alone_from(), 1);
    t_group_add(&w.g, 1);
    EQ_U(alone_from(), 0);
    told(3, 0, 2);                      /* it has lost its disk */
    EQ_U(alone_from(), 1);
}

/* It wants none of them, and may have none. */
static void test_who_leaves_out_paths_is_no_holder(void)
{
    fresh_pair();
    put_many("", 0, 3);
    scan_again();
    told_with(3, 3, 1, VEC_PARTIAL);
    EQ_U(alone_from(), 1);
    told_with(3, 3, 2, 0);
    EQ_U(alone_from(), 0);
}

static bool shows_partial(void)
{
    AUTO(buf_release) struct buf blob = BUF_INIT(LIMIT_BODY);
    AUTO(vec_release) struct vec v = {0};
    t_must(engine_own_vector(w.e, loop_wall(), 1, &blob));
    t_must(vec_decode(blob.data, blob.len, &v));
    return v.flags & VEC_PARTIAL;
}

static void rules(bool own, bool stays)
{
    t_must(engine_begin(w.e));
    t_must(engine_rules(w.e, &(struct id){{1}}, own));
    if (stays)
        t_must(engine_commit(w.e, loop_wall()));
    else
        engine_rollback(w.e);
}

static void test_own_rules_show(void)
{
    fresh_pair();
    CHECK(!shows_partial());
    rules(true, false);
    CHECK(!shows_partial());
    rules(true, true);
    CHECK(shows_partial());
    rules(false, false);
    CHECK(shows_partial());
    rules(false, true);
    CHECK(!shows_partial());
}

/* ---- which are chosen ---- */

struct list { char text[200]; };

static int add_name(void *arg, const struct ix_entry *e)
{
    struct list *l = arg;
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    size_t len = strlen(l->text);
    t_must(index_path_get(w.ix, e->path, &name, NULL));
    snprintf(l->text + len, sizeof l->text - len, "%.*s ", (int)name.len, (const char *)name.data);
    return 0;
}

static const char *unkept(uint64_t from, uint64_t to, bool edited)
{
    static struct list l;
    l = (struct list){0};
    t_must(index_entry_unkept(w.ix, version("one").stream, from, to, edited, add_name, &l));
    return l.text;
}

static void test_choice(void)
{
    fresh_pair();
    put_big("one", BIG, 1);
    scan_again();
    put_big("two", BIG, 2);
    edit("inline", "some text");
    edit("empty", "");
    scan_again();
    put_big("three", BIG, 3);
    scan_again();
    EQ_S(unkept(1, UINT64_MAX, false), "three inline two one ");
    EQ_S(unkept(1, UINT64_MAX, true), "");
    EQ_S(unkept(1, authored() - 1, false), "inline two one ");
    put_big("one", BIG, 4);
    scan_again();
    EQ_S(unkept(1, UINT64_MAX, false), "one three inline two ");
    EQ_S(unkept(1, UINT64_MAX, true), "one ");
    OK(unlink(full("three")));
    scan_again();
    EQ_S(unkept(1, UINT64_MAX, false), "one inline two ");
    run_pass();
    EQ_S(unkept(1, UINT64_MAX, false), "");
}

/* ---- what becomes of them ---- */

/* The share is of what the file system says: half of it for all, a quarter for files that are not edited; the latest first. */
static uint64_t disk_size = 1 << 30;

int statvfs(const char *path, struct statvfs *out)
{
    (void)path;
    *out = (struct statvfs){.f_frsize = 1, .f_blocks = disk_size};
    return 0;
}

static size_t current_on_disk_of(uint64_t bytes)
{
    disk_size = bytes;
    struct keeper_figures f = run_pass();
    disk_size = 1 << 30;
    return f.current;
}


static void test_every_version_stays(void)
{
    struct id was[4];
    fresh_pair();
    for (uint64_t i = 0; i < 4; i++) {
        put_big("one", BIG, i + 1);
        scan_again();
        was[i] = version("one").root;
        struct keeper_figures f = run_pass();
        EQ_U(f.current, 1);
        EQ_U(f.packed, i + 1);
    }
    for (size_t i = 0; i < 4; i++)
        OK(readable(&was[i]));
    OK(unlink(full("one")));
    scan_again();
    EQ_U(run_pass().current, 0);
    OK(readable(&was[3]));
}

/* Nobody has looked at it since: what was there is gone, and what is there is not taken for it. */
static void test_written_to_since(void)
{
    fresh_pair();
    put_big("one", BIG, 1);
    put_big("two", BIG, 2);
    scan_again();
    struct id old = version("one").root;
    w.busy = "one";                     /* the scanner is not to look */
    put_big("one", BIG, 3);
    EQ_U(run_pass().current, 1);
    w.busy = NULL;
    scan_again();
    EQ_I(readable(&old), ERR_NOTFOUND);
    EQ_U(run_pass().current, 2);
}

/* What its entry carries is packed from there: nothing is read, and it does not matter what the file has become. */
static void test_carried_by_its_entry(void)
{
    fresh_pair();
    edit("one", "short");
    scan_again();
    struct id old = version("one").root;
    w.busy = "one";
    edit("one", "other");
    EQ_U(run_pass().current, 1);
    w.busy = NULL;
    scan_again();
    OK(readable(&old));
}

static void test_what_another_has_goes(void)
{
    fresh_pair();
    put_large("one", 1);
    scan_again();
    put_large("two", 2);
    scan_again();
    EQ_U(run_pass().current, 2);
    told(2, 1, 1);
    EQ_U(run_pass().current, 1);
    told(2, 2, 1);
    struct keeper_figures f = run_pass();
    EQ_U(f.current + f.packed + f.pack_bytes, 0);
}

/* Both may overwrite it before they hear of each other: one of them is to keep it. */
static void test_what_is_edited_or_small_stays(void)
{
    struct id was[3];
    fresh_pair();
    edit("inline", "is in the indexes of all");
    put_big("small", BIG, 1);
    put_large("edited", 2);
    scan_again();
    put_large("edited", 3);
    scan_again();
    told(authored(), authored(), 1);
    EQ_U(run_pass().current, 2);
    was[0] = version("small").root;
    was[1] = version("edited").root;
    put_big("small", BIG, 4);
    put_large("edited", 5);
    scan_again();
    was[2] = version("small").root;
    told(authored(), authored(), 1);
    struct keeper_figures f = run_pass();
    EQ_U(f.current, 2);
    EQ_U(f.packed, 4);
    for (size_t i = 0; i < 3; i++)
        OK(readable(&was[i]));
}

/* What a device has left that is gone is for the one with the smallest id to keep, of those that have it. */
static void test_what_others_have_left(void)
{
    fresh_pair();
    t_group_add(&w.g, 2);
    struct stream *s;
    t_must(engine_begin(w.e));
    t_must(engine_stream_add(w.e, &w.g.dev[2]->dev, (const uint8_t[8]){1}, &s));
    s->row.known = 5;
    t_must(engine_commit(w.e, loop_wall()));
    struct own_range r[4];
    CHECK(!engine_in_charge(w.e, s->row.id, 5));
    t_group_revoke(&w.g, 2);
    EQ_U(engine_charge(w.e, false, r, 4), 1);
    EQ_U(r[0].from, 1);
    EQ_U(r[0].to, 5);
    told_of(&s->row.sid, 5, 3, 1, 0);
    bool smaller = id_cmp(&w.g.dev[1]->dev, &w.g.dev[0]->dev) < 0;
    CHECK(engine_in_charge(w.e, s->row.id, 3) == !smaller && engine_in_charge(w.e, s->row.id, 4));
    CHECK(engine_elsewhere(w.e, s->row.id, 3) && !engine_elsewhere(w.e, s->row.id, 4));
}

/* Also of one that was a version before: that one is history. */
static void test_what_was_a_version_before_stays(void)
{
    fresh_pair();
    put_big("one", BIG, 1);
    scan_again();
    struct id was = version("one").root;
    run_pass();
    put_big("one", BIG, 2);
    scan_again();
    put_big("one", BIG, 1);
    scan_again();
    EQ_U(run_pass().current, 1);
    told(3, 3, 1);
    EQ_U(current_on_disk_of(0), 0);
    EQ_U(run_pass().packed, 1);
    put_big("one", BIG, 3);
    scan_again();
    OK(readable(&was));
}

/* Two files of one content: it is needed as long as one of them is nowhere else. */
static void test_two_of_one_content(void)
{
    fresh_pair();
    put_large("one", 1);
    scan_again();
    put_large("two", 1);
    scan_again();
    EQ_U(run_pass().current, 1);
    told(2, 1, 1);
    EQ_U(run_pass().current, 1);
    OK(unlink(full("one")));
    scan_again();
    EQ_U(run_pass().current, 1);
    told(3, 3, 1);
    EQ_U(run_pass().current, 0);
}

static int one_folded(void *arg, const struct ix_alive *a) { (void)a; ++*(unsigned *)arg; return 0; }

/* A pack of which most is not needed any more is written anew: what lies in it of files that are on disk is there afterwards, and in short. */
static void test_a_pack_is_written_anew(void)
{
    enum { GOES = 50, STAYS = 3 };
    struct id stays[STAYS];
    unsigned n = 0;
    fresh_pair();
    for (unsigned i = 0; i < GOES + STAYS; i++)      /* what is in its entry goes when others have it */
        put_big((char[]){(char)('0' + i), 0}, i < GOES ? LIMIT_INLINE : 3000, i + 1);
    scan_again();
    struct keeper_figures before = run_pass();
    EQ_U(before.current, GOES + STAYS);
    EQ_U(run_pass().compacted, 0);       /* all of it is needed */
    told(GOES + STAYS, GOES + STAYS, 1);
    struct keeper_figures after = run_pass();
    EQ_U(after.current, STAYS);
    EQ_U(after.compacted, 1);
    CHECK(after.pack_bytes < before.pack_bytes / 3);
    OK(index_alive_each(w.ix, 0, one_folded, &n));
    EQ_U(n, STAYS);
    for (unsigned i = 0; i < STAYS; i++) {
        stays[i] = version((char[]){(char)('0' + GOES + i), 0}).root;
        put_big((char[]){(char)('0' + GOES + i), 0}, 3000, 1000 + i);
    }
    scan_again();
    for (unsigned i = 0; i < STAYS; i++)
        OK(readable(&stays[i]));
}

static void test_bounded(void)
{
    fresh_pair();
    for (char i = 'a'; i < 'e'; i++) {
        put_big((char[]){i, 0}, BIG, (uint64_t)i);
        scan_again();
    }
    put_big("a", BIG, 1);
    scan_again();
    EQ_U(current_on_disk_of(BIG * 3 / 2 * SHARE), 0);
    EQ_U(current_on_disk_of(BIG * 2 * SHARE), 1);
    struct id a = version("a").root, c = version("c").root, d = version("d").root;
    EQ_U(current_on_disk_of(BIG * 8 * SHARE), 2);
    put_big("a", BIG, 9);
    put_big("c", BIG, 9);
    put_big("d", BIG, 9);
    scan_again();
    OK(readable(&a));
    OK(readable(&d));
    EQ_I(readable(&c), ERR_NOTFOUND);
}

/* Half as much of what others have, too. */
static void test_bounded_of_what_others_have(void)
{
    fresh_pair();
    for (char i = 'a'; i < 'e'; i++)
        put_big((char[]){i, 0}, BIG, (uint64_t)i);
    scan_again();
    EQ_U(run_pass().current, 4);
    told(4, 0, 1);
    EQ_U(current_on_disk_of(BIG * 8 * SHARE), 4);
    told(4, 4, 1);
    EQ_U(current_on_disk_of(BIG * 8 * SHARE), 2);
    EQ_U(current_on_disk_of(0), 0);
    EQ_U(current_on_disk_of(BIG * 8 * SHARE), 1);        /* again, as files that were never edited */
}

int main(void)
{
    t_node_init();
    RUN(test_vectors_tell);
    RUN(test_who_leaves_out_paths_is_no_holder);
    RUN(test_own_rules_show);
    RUN(test_choice);
    RUN(test_every_version_stays);
    RUN(test_written_to_since);
    RUN(test_carried_by_its_entry);
    RUN(test_what_another_has_goes);
    RUN(test_what_is_edited_or_small_stays);
    RUN(test_what_others_have_left);
    RUN(test_what_was_a_version_before_stays);
    RUN(test_two_of_one_content);
    RUN(test_a_pack_is_written_anew);
    RUN(test_bounded);
    RUN(test_bounded_of_what_others_have);
    keeper_end();
    world_end();
    return t_done();
}
