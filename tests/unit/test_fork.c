/* Streams with two histories, as engines see them: what proves it, what is signed again of them, and how much at most. */
#include "tests/unit/t_forge.h"

/* A stream of device 2: a file "a", and perhaps a file "b". */
static struct pen history(struct world *w, const char *a, const char *b)
{
    struct pen p = pen_new(w, 2, 9);
    pen_file(&p, "a", a);
    if (b)
        pen_file(&p, "b", b);
    pen_seal(&p);
    return p;
}

/* ---- of a path ---- */

static void test_the_greatest_of_a_path_are_signed_again(void)
{
    struct world *w = world_new();
    struct pen one = pen_new(w, 2, 9), two = pen_new(w, 2, 9);
    for (int i = 0; i < 20; i++) {
        char text[16];
        snprintf(text, sizeof text, "v%02d", i);
        pen_file(&one, "a", text);
    }
    pen_file(&one, "b", "alone");
    pen_seal(&one);
    pen_file(&two, "a", "other");
    pen_seal(&two);
    EQ_I(hear(w, 0, 2, (struct pen *[]){&one}, 1), 21);
    install(w, 0);
    EQ_S(shows(w, 0, "a"), "v19");
    EQ_U(tally(w, 0, "a").live, 20);
    EQ_I(prove(w, 0, &one, &two), 1);
    struct tally a = tally(w, 0, "a"), b = tally(w, 0, "b");
    EQ_U(a.live, 8);
    EQ_U(a.own, 8);
    EQ_S(a.least, "v12");
    EQ_U(a.rows, 28);                      /* the others are there to be read */
    EQ_U(b.live, 1);
    EQ_U(b.own, 1);
    EQ_U(install(w, 0), 0);                /* the disk shows what it showed */
    EQ_S(shows(w, 0, "a"), "v19");
    EQ_I(pull_entries(w, 0, 1), 9);
    EQ_U(tally(w, 1, "a").live, 8);
    world_free(w);
    pen_release(&one);
    pen_release(&two);
}

static int first_kept(void *arg, const struct ix_kept *k)
{
    *(uint64_t *)arg = k->kept_ms;
    return 1;
}

/* What is signed again is what is here; what has waited as a conflict and is history now stays as long as if it had just become that. */
static void test_only_what_is_here_is_signed_and_history_begins_now(void)
{
    struct world *w = world_new();
    struct pen one = pen_new(w, 2, 9), two = pen_new(w, 2, 9);
    struct id root[12];
    for (uint8_t i = 0; i < 12; i++) {
        root[i] = id_hash(&i, 1);
        pen_blocks(&one, "a", &root[i]);
    }
    pen_seal(&one);
    pen_file(&two, "a", "other");
    pen_seal(&two);
    EQ_I(hear(w, 0, 2, (struct pen *[]){&one}, 1), 12);
    must(engine_begin(w->d[0].e));
    for (int i = 0; i < 10; i++)           /* not of the two greatest */
        must(index_kept_put(w->d[0].ix, &(struct ix_kept){.path = 1, .root = root[i], .size = 5, .kept_ms = i == 1 ? w->wall + 7 : 1000, .name = "k"}));
    commit(w, 0);
    EQ_I(prove(w, 0, &one, &two), 1);
    EQ_U(tally(w, 0, "a").own, 8);
    for (int i = 0; i < 10; i++) {
        uint64_t kept = 0;
        EQ_I(index_kept_by_root(w->d[0].ix, &root[i], first_kept, &kept), 1);
        EQ_U(kept, i == 0 ? w->wall : i == 1 ? w->wall + 7 : 1000);
    }
    world_free(w);
    pen_release(&one);
    pen_release(&two);
}

/* While nothing may be signed, nothing ends: what is here and nowhere else would be left out. */
static void test_nothing_ends_while_a_twin_is_about(void)
{
    struct world *w = world_new();
    struct pen one = history(w, "one", NULL), two = history(w, "two", NULL);
    EQ_I(hear(w, 0, 2, (struct pen *[]){&one}, 1), 1);
    engine_mute(w->d[0].e);
    EQ_I(prove(w, 0, &one, &two), ERR_AGAIN);
    EQ_U(tally(w, 0, "a").live, 1);
    engine_unmute(w->d[0].e);
    EQ_I(prove(w, 0, &one, &two), 1);
    EQ_U(tally(w, 0, "a").own, 1);
    world_free(w);
    pen_release(&one);
    pen_release(&two);
}

/* ---- who has been away ---- */

static bool tells(struct world *w, size_t from, size_t to)
{
    AUTO(buf_release) struct buf proof = BUF_INIT(LIMIT_HEAD);
    struct id dev;
    return engine_next_fork(w->d[from].e, &dev, &proof) && id_eq(&dev, &w->d[to].keys->dev);
}

/* Device 0 hears that a stream has ended, and its user deletes what was signed again. Device 1 hears of that later. */
static void test_what_was_deleted_since_is_not_signed_again(void)
{
    struct world *w = world_new();
    struct pen one = history(w, "one", "stays"), two = history(w, "two", NULL);
    for (size_t i = 0; i < 2; i++) {
        EQ_I(hear(w, i, 2, (struct pen *[]){&one}, 1), 2);
        install(w, i);
    }
    EQ_I(prove(w, 0, &one, &two), 1);
    EQ_I(delete(w, 0, "a"), 1);
    engine_online(w->d[0].e, &w->d[1].keys->dev, true);
    show_vector(w, 1, 0);
    CHECK(!tells(w, 0, 1));                /* before it has what was signed again, and what became of that */
    EQ_I(pull_entries(w, 0, 1), 3);
    show_vector(w, 1, 0);
    CHECK(tells(w, 0, 1));
    EQ_I(prove(w, 1, &one, &two), 1);
    EQ_U(tally(w, 1, "a").own, 0);
    EQ_U(tally(w, 1, "b").own, 0);
    EQ_U(tally(w, 1, "b").live, 1);
    EQ_U(install(w, 1), 1);
    EQ_S(shows(w, 1, "a"), "");
    EQ_S(shows(w, 1, "b"), "stays");
    EQ_I(pull_entries(w, 1, 0), 0);
    world_free(w);
    pen_release(&one);
    pen_release(&two);
}

/* Whoever refuses something of ours hears of a proof, too. */
static void test_who_cannot_have_all_is_told_in_the_end(void)
{
    struct world *w = world_new();
    struct pen one = history(w, "one", NULL), two = history(w, "two", NULL);
    for (size_t i = 0; i < 2; i++)
        EQ_I(hear(w, i, 2, (struct pen *[]){&one}, 1), 1);
    EQ_I(prove(w, 0, &one, &two), 1);
    engine_online(w->d[0].e, &w->d[1].keys->dev, true);
    show_vector(w, 1, 0);
    CHECK(!tells(w, 0, 1));
    engine_forgive(w->d[0].e);
    CHECK(tells(w, 0, 1));
    engine_online(w->d[0].e, &w->d[1].keys->dev, false);
    engine_online(w->d[0].e, &w->d[1].keys->dev, true);
    CHECK(!tells(w, 0, 1));
    world_free(w);
    pen_release(&one);
    pen_release(&two);
}

/* ---- what proves nothing ---- */

/* y: signed in a wrong way without its keys */
static int try(struct world *w, const struct header *x, const struct device_keys *xk, const struct header *y, const struct device_keys *yk)
{
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_HEAD), rx = BUF_INIT(4096), ry = BUF_INIT(4096);
    uint8_t sx[SIG_LEN], sy[SIG_LEN];
    must(header_encode(&rx, sx, x, xk));
    must(header_encode(&ry, sy, y, yk ? yk : xk));
    sy[9] ^= !yk;
    fork_put(&body, &(struct signed_header){{rx.data, rx.len}, sx}, &(struct signed_header){{ry.data, ry.len}, sy});
    must(engine_begin(w->d[0].e));
    int r = engine_fork(w->d[0].e, body.data, body.len, w->wall);
    engine_rollback(w->d[0].e);
    return r;
}

static void test_proofs_that_prove_nothing(void)
{
    struct world *w = world_new();
    const struct device_keys *k = w->d[2].keys;
    struct device_keys *stranger = device_keys_new();
    const struct header good = {.group = w->group.id, .dev = k->dev, .root = id_hash("x", 1), .prev = id_hash("p", 1), .inc = {5}, .first = 4,
                                .count = 1, .hlc_max = 1, .wall_ms = 1};
    struct header other = good, far, y;
    other.root = id_hash("y", 1);
    EQ_I(try(w, &good, k, &other, k), 1);
    EQ_I(try(w, &good, k, &good, k), ERR_BAD);                         /* one and the same */
    y = other;
    y.first = 5;                                                       /* another place */
    EQ_I(try(w, &good, k, &y, k), ERR_BAD);
    y = other;
    y.prev = id_hash("q", 1);                                          /* they have parted before */
    EQ_I(try(w, &good, k, &y, k), ERR_DENIED);
    y = other;
    y.inc[0] = 6;                                                      /* of two streams */
    EQ_I(try(w, &good, k, &y, k), ERR_BAD);
    y = other;
    far = good;
    y.group = far.group = id_hash("another group", 13);
    CHECK(try(w, &good, k, &y, k) < 0);
    EQ_I(try(w, &far, k, &y, k), ERR_DENIED);
    y = other;
    far = good;
    y.dev = far.dev = stranger->dev;
    EQ_I(try(w, &far, stranger, &y, stranger), ERR_DENIED);
    CHECK(try(w, &good, k, &other, NULL) < 0);
    y = other;
    y.root = good.root;
    y.wall_ms = 2;
    EQ_I(try(w, &good, k, &y, k), 1);                                  /* the same entries under another header: that is two */
    device_keys_free(&stranger);
    world_free(w);
}

/* Of two change sets. */
static struct pen longer_history(struct world *w, const char *a, const char *b)
{
    struct pen p = history(w, a, NULL);
    pen_file(&p, "b", b);
    pen_seal(&p);
    return p;
}

static void test_the_earliest_end_counts(void)
{
    struct world *w = world_new();
    struct pen one = longer_history(w, "a", "b"), late = longer_history(w, "a", "late"), begin = history(w, "a", NULL), early = history(w, "early", NULL);
    EQ_I(hear(w, 0, 2, (struct pen *[]){&one}, 1), 2);
    EQ_I(prove(w, 0, &one, &late), 1);
    EQ_U(engine_known_of(w->d[0].e, &one.sid), 1);
    EQ_U(tally(w, 0, "a").own, 0);
    EQ_U(tally(w, 0, "b").own, 1);
    EQ_I(prove(w, 0, &begin, &early), 1);
    EQ_U(engine_known_of(w->d[0].e, &one.sid), 0);
    EQ_U(tally(w, 0, "a").own, 1);
    EQ_I(prove(w, 0, &one, &late), 0);
    EQ_I(hear(w, 0, 2, (struct pen *[]){&one}, 1), 0);                 /* nothing beyond is taken any more */
    pen_release(&one);
    pen_release(&late);
    pen_release(&begin);
    pen_release(&early);
    world_free(w);
}

/* ---- of a device ---- */

/* Stream number i of device 2, with the file "s<i>" in either history. */
static void split(struct world *w, uint8_t i, struct pen *one, struct pen *two)
{
    char path[16];
    snprintf(path, sizeof path, "s%d", i);
    *one = pen_new(w, 2, (uint8_t)(100 + i));
    *two = pen_new(w, 2, (uint8_t)(100 + i));
    pen_file(one, path, "one");
    pen_seal(one);
    pen_file(two, path, "two");
    pen_seal(two);
}

enum { MANY = 20, ENOUGH = 16 };
struct splits { struct pen one[MANY], two[MANY]; };

static struct splits *splits_new(struct world *w)
{
    struct splits *s = xcalloc(1, sizeof *s);
    for (uint8_t i = 0; i < MANY; i++) {
        split(w, i, &s->one[i], &s->two[i]);
        EQ_I(hear(w, 0, 2, (struct pen *[]){&s->one[i]}, 1), 1);
    }
    return s;
}

static void splits_free(struct splits *s)
{
    for (size_t i = 0; i < MANY; i++) {
        pen_release(&s->one[i]);
        pen_release(&s->two[i]);
    }
    free(s);
}

static void restart(struct world *w, size_t i)
{
    engine_free(&w->d[i].e);
    struct engine_config c = {.index = w->d[i].ix, .group = &w->group, .keys = w->d[i].keys};
    memset(c.inst, 77, sizeof c.inst);
    must(engine_new(&c, &w->d[i].e));
}

static void test_only_so_many_streams_of_a_device_end(void)
{
    struct world *w = world_new();
    struct splits *s = splits_new(w);
    struct id dev;
    for (int i = 0; i < ENOUGH; i++) {
        CHECK(!engine_next_distrusted(w->d[0].e, &dev));
        EQ_I(prove(w, 0, &s->one[i], &s->two[i]), 1);
        EQ_I(prove(w, 0, &s->one[i], &s->two[i]), 0);
    }
    CHECK(engine_next_distrusted(w->d[0].e, &dev));
    CHECK(id_eq(&dev, &w->d[2].keys->dev));
    CHECK(!engine_next_distrusted(w->d[0].e, &dev));
    EQ_I(prove(w, 0, &s->one[16], &s->two[16]), ERR_DENIED);
    CHECK(!engine_next_distrusted(w->d[0].e, &dev));
    EQ_U(tally(w, 0, "s15").own, 1);
    EQ_U(tally(w, 0, "s16").live, 1);      /* what came first stays */
    EQ_U(tally(w, 0, "s16").own, 0);
    restart(w, 0);
    EQ_I(prove(w, 0, &s->one[17], &s->two[17]), ERR_DENIED);
    EQ_I(prove(w, 0, &s->one[3], &s->two[3]), 0);
    CHECK(engine_next_distrusted(w->d[0].e, &dev));
    splits_free(s);
    world_free(w);
}

/* The second history of such a device is refused by itself, and what others have signed is taken. */
static void test_a_refused_history_holds_up_nobody(void)
{
    struct world *w = world_new();
    struct splits *s = splits_new(w);
    struct pen good = pen_new(w, 1, 1), longer = pen_new(w, 2, 100 + 16);
    for (int i = 0; i < ENOUGH; i++)
        EQ_I(prove(w, 0, &s->one[i], &s->two[i]), 1);
    pen_file(&good, "good", "good");
    pen_seal(&good);
    pen_file(&longer, "s16", "two");
    pen_file(&longer, "s16-more", "more");
    pen_seal(&longer);
    EQ_I(hear(w, 0, 1, (struct pen *[]){&s->two[17], &longer, &good}, 3), 1);
    EQ_U(tally(w, 0, "good").live, 1);
    EQ_U(tally(w, 0, "s16").live, 1);
    EQ_I(hear(w, 0, 1, (struct pen *[]){&longer}, 1), 0);              /* refused already, until forgiven */
    engine_forgive(w->d[0].e);
    EQ_I(hear(w, 0, 1, (struct pen *[]){&longer}, 1), ERR_BAD);
    splits_free(s);
    world_free(w);
    pen_release(&good);
    pen_release(&longer);
}

/* One has ended streams that another one refuses to end: neither waits for the other. */
static void test_who_is_not_trusted_is_not_waited_for(void)
{
    struct world *w = world_new();
    struct splits *s = splits_new(w);
    for (int i = 0; i < MANY; i++)
        EQ_I(hear(w, 1, 2, (struct pen *[]){&s->one[i]}, 1), 1);
    for (int i = 0; i < ENOUGH; i++) {
        EQ_I(prove(w, 0, &s->one[i], &s->two[i]), 1);
        EQ_I(prove(w, 1, &s->one[MANY - 1 - i], &s->two[MANY - 1 - i]), 1);
    }
    for (int i = 0; i < 3; i++) {
        pull_entries(w, 0, 1);
        install(w, 1);
        pull_entries(w, 1, 0);
        install(w, 0);
    }
    pull_entries(w, 0, 1);
    CHECK(engine_have_all_of(w->d[0].e, &w->d[1].keys->dev));
    CHECK(engine_has_all_of_us(w->d[0].e, &w->d[1].keys->dev));
    CHECK(engine_have_all_of(w->d[1].e, &w->d[0].keys->dev));
    CHECK(engine_has_all_of_us(w->d[1].e, &w->d[0].keys->dev));
    EQ_U(engine_missing_at(w->d[1].e, &w->d[0].keys->dev), 0);
    splits_free(s);
    world_free(w);
}

/* ---- snapshots ---- */

static void snapshot(struct world *w, size_t i, const char *name)
{
    must(engine_begin(w->d[i].e));
    must(engine_snapshot_create(w->d[i].e, name, ++w->wall));
    commit(w, i);
}

static void pen_snapshot(struct pen *p, const char *path)
{
    struct entry ent = {.kind = KIND_SNAPSHOT, .path = {(const uint8_t *)path, strlen(path)}, .mtime_ns = 1, .v.hlc = hlc_make(p->w->wall, 0)};
    pen_entry(p, &ent);
}

/* As devices make them by the clock. A snapshot has no exceptions. */
static void test_snapshots_of_one_name(void)
{
    struct world *w = world_new();
    struct pen one = pen_new(w, 2, 9), two = pen_new(w, 2, 9);
    const struct snapshot *v;
    size_t n;
    pen_snapshot(&one, ".lanyard/snapshots/auto");
    pen_seal(&one);
    pen_file(&two, "a", "other");
    pen_seal(&two);
    snapshot(w, 0, "auto");
    EQ_I(hear(w, 0, 2, (struct pen *[]){&one}, 1), 1);
    EQ_I(prove(w, 0, &one, &two), 1);
    must(engine_snapshots(w->d[0].e, &v, &n));
    EQ_U(n, 2);
    EQ_I(pull_entries(w, 0, 1), 2);
    world_free(w);
    pen_release(&one);
    pen_release(&two);
}

static struct ix_entry was(struct world *w, size_t i, const char *path)
{
    const struct snapshot *v;
    struct ix_entry row;
    size_t n;
    int64_t id;
    must(engine_snapshots(w->d[i].e, &v, &n));
    EQ_U(n, 1);
    CHECK(engine_covers(w->d[i].e, &v->vector));
    must(index_path_id(w->d[i].ix, path, strlen(path), false, &id));
    must(engine_state_at(w->d[i].e, id, (const struct dots *[]){&v->vector}, 1, &row));
    return row;
}

static uint64_t forget_all(struct world *w, size_t i)
{
    int64_t path = 0;
    uint64_t n;
    must(engine_begin(w->d[i].e));
    must(engine_forget_old(w->d[i].e, w->wall + 1, &path, &n));
    commit(w, i);
    return n;
}

/* What no longer counts now still is what was there then: held, and brought back. What was deleted then does not come back in its place. */
static void test_a_snapshot_is_what_it_was(void)
{
    struct world *w = world_new();
    struct pen one = history(w, "one", "gone"), two = history(w, "other", NULL);
    EQ_I(hear(w, 0, 2, (struct pen *[]){&one}, 1), 2);
    install(w, 0);
    delete(w, 0, "b");
    snapshot(w, 0, "s");
    struct ix_entry a = was(w, 0, "a"), b = was(w, 0, "b");
    EQ_I(b.kind, KIND_TOMBSTONE);
    EQ_I(prove(w, 0, &one, &two), 1);
    w->group.member[1].revoked = w->group.member[2].revoked = true;    /* nobody is waited for */
    w->wall += 1000;
    EQ_U(forget_all(w, 0), 0);
    EQ_I(was(w, 0, "a").id, a.id);
    EQ_I(was(w, 0, "b").id, b.id);
    bool pinned;
    must(engine_pinned(w->d[0].e, a.id, &pinned));
    CHECK(pinned);
    delete(w, 0, "a");
    must(engine_begin(w->d[0].e));
    must(engine_restore(w->d[0].e, a.path, a.id, w->wall));
    commit(w, 0);
    install(w, 0);
    EQ_S(shows(w, 0, "a"), "one");
    world_free(w);
    pen_release(&one);
    pen_release(&two);
}

int main(void)
{
    must(keys_init());
    RUN(test_the_greatest_of_a_path_are_signed_again);
    RUN(test_only_what_is_here_is_signed_and_history_begins_now);
    RUN(test_nothing_ends_while_a_twin_is_about);
    RUN(test_what_was_deleted_since_is_not_signed_again);
    RUN(test_who_cannot_have_all_is_told_in_the_end);
    RUN(test_proofs_that_prove_nothing);
    RUN(test_the_earliest_end_counts);
    RUN(test_only_so_many_streams_of_a_device_end);
    RUN(test_a_refused_history_holds_up_nobody);
    RUN(test_who_is_not_trusted_is_not_waited_for);
    RUN(test_snapshots_of_one_name);
    RUN(test_a_snapshot_is_what_it_was);
    return t_done();
}
