/* Where two histories part is found by those who have heard of different ones. */
#include "tests/unit/t_forge.h"

/* Two devices that have heard of different histories find the place by themselves, also far back, and both have all of both then. */
static void test_the_place_is_found(void)
{
    struct world *w = world_new();
    struct pen one = pen_new(w, 2, 9), two = pen_new(w, 2, 9);
    for (int i = 0; i < 200; i++) {
        char path[16];
        snprintf(path, sizeof path, "f%d", i);
        pen_file(&one, path, "one");
        pen_seal(&one);
        pen_file(&two, path, i < 20 ? "one" : "two");
        pen_seal(&two);
    }
    EQ_I(hear(w, 0, 2, (struct pen *[]){&one}, 1), 200);
    EQ_I(hear(w, 1, 2, (struct pen *[]){&two}, 1), 200);
    pull_entries(w, 0, 1);
    EQ_U(engine_known_of(w->d[1].e, &two.sid), 20);
    AUTO(buf_release) struct buf proof = BUF_INIT(LIMIT_HEAD), vec = BUF_INIT(LIMIT_BODY);
    struct id dev;
    pull_entries(w, 1, 0);                 /* what is signed again comes before the reason */
    must(engine_own_vector(w->d[0].e, w->wall, 1, &vec));
    must(engine_vector(w->d[1].e, vec.data, vec.len, NULL, NULL));
    engine_online(w->d[1].e, &w->d[0].keys->dev, true);
    CHECK(engine_next_fork(w->d[1].e, &dev, &proof));                  /* whom to tell, and of what: once */
    CHECK(id_eq(&dev, &w->d[0].keys->dev));
    must(engine_begin(w->d[0].e));
    EQ_I(engine_fork(w->d[0].e, proof.data, proof.len, w->wall), 1);
    commit(w, 0);
    CHECK(!engine_next_fork(w->d[1].e, &dev, &proof));
    pull_entries(w, 0, 1);
    pull_entries(w, 1, 0);
    for (size_t i = 0; i < 2; i++) {
        EQ_U(engine_known_of(w->d[i].e, &one.sid), 20);
        EQ_U(tally(w, i, "f19").live, 1);
        EQ_U(tally(w, i, "f20").live, 2);
        EQ_U(tally(w, i, "f199").live, 2);
    }
    pen_release(&one);
    pen_release(&two);
    world_free(w);
}

/* As a node does it: what was refused is not asked for again until it is forgiven. */
static void hear_of(struct world *w, size_t to, size_t from)
{
    AUTO(buf_release) struct buf vec = BUF_INIT(LIMIT_BODY), body = BUF_INIT(LIMIT_BODY), proof = BUF_INIT(LIMIT_HEAD);
    struct engine *a = w->d[from].e, *b = w->d[to].e;
    struct fetch f;
    must(engine_own_vector(a, w->wall, 1, &vec));
    must(engine_vector(b, vec.data, vec.len, NULL, NULL));
    engine_online(b, &w->d[from].keys->dev, true);
    engine_forgive(b);
    for (int i = 0; engine_next_fetch(b, &f); i++) {
        CHECK(i < 40);
        must(engine_serve_cs(a, f.range, f.n, LIMIT_CS_REPLY, &body));
        must(engine_begin(b));
        int r = engine_change_sets(b, &w->d[from].keys->dev, body.data, body.len, w->wall);
        commit(w, to);
        if (r > 0)
            engine_fetch_done(b, &f.dev);
        else
            engine_fetch_failed(b, &f.dev);
    }
    while (engine_next_fork(b, &f.dev, &proof)) {
        must(engine_begin(a));
        must(engine_fork(a, proof.data, proof.len, w->wall));
        commit(w, from);
    }
}

static void random_sets(uint64_t *seed, struct pen *const *p, size_t n, uint64_t sets, const char *text)
{
    for (uint64_t i = 0; i < sets; i++) {
        uint64_t entries = 1 + t_rand(seed) % 5;
        for (size_t k = 0; k < n; k++) {
            for (uint64_t x = 0; x < entries; x++) {
                char path[24];
                snprintf(path, sizeof path, "f%d", (int)(p[k]->known + x) % 50);
                pen_file(p[k], path, text);
            }
            pen_seal(p[k]);
        }
    }
}

/* Histories of any length on either side, in change sets of any size. */
static void test_any_place_is_found(void)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world *w = world_new();
        uint64_t rand = seed;
        struct pen one = pen_new(w, 2, 9), two = pen_new(w, 2, 9);
        random_sets(&rand, (struct pen *[]){&one, &two}, 2, t_rand(&rand) % 120, "both");
        uint64_t common = one.known;
        random_sets(&rand, (struct pen *[]){&one}, 1, 1 + t_rand(&rand) % 120, "one");
        random_sets(&rand, (struct pen *[]){&two}, 1, 1 + t_rand(&rand) % 120, "two");
        CHECK(hear(w, 0, 2, (struct pen *[]){&one}, 1) > 0);
        CHECK(hear(w, 1, 2, (struct pen *[]){&two}, 1) > 0);
        for (int i = 0; i < 3; i++) {
            hear_of(w, 0, 1);
            hear_of(w, 1, 0);
        }
        EQ_U(engine_known_of(w->d[0].e, &one.sid), common);
        EQ_U(engine_known_of(w->d[1].e, &one.sid), common);
        CHECK(engine_have_all_of(w->d[0].e, &w->d[1].keys->dev));
        CHECK(engine_have_all_of(w->d[1].e, &w->d[0].keys->dev));
        pen_release(&one);
        pen_release(&two);
        world_free(w);
    }
}

/* Of either history so many versions of a path are signed again, and both devices have all of these. */
static void test_both_sign_again(void)
{
    struct world *w = world_new();
    struct pen one = pen_new(w, 2, 9), two = pen_new(w, 2, 9);
    for (int i = 0; i < 50; i++) {
        char text[16];
        snprintf(text, sizeof text, "one %02d", i);
        pen_file_at(&one, "a", text, 1);
        snprintf(text, sizeof text, "two %02d", i);
        pen_file_at(&two, "a", text, 1);
    }
    pen_seal(&one);
    pen_seal(&two);
    EQ_I(hear(w, 0, 2, (struct pen *[]){&one}, 1), 50);
    EQ_I(hear(w, 1, 2, (struct pen *[]){&two}, 1), 50);
    install(w, 0);
    install(w, 1);
    for (int i = 0; i < 3; i++) {
        hear_of(w, 0, 1);
        install(w, 0);
        hear_of(w, 1, 0);
        install(w, 1);
    }
    CHECK(strstr(shows(w, 0, "a"), "49"));      /* though all are of one moment */
    EQ_U(tally(w, 0, "a").live, 16);
    EQ_U(tally(w, 1, "a").live, 16);
    EQ_U(tally(w, 0, "a").own, 8);
    EQ_U(tally(w, 0, "a").rows, 50 + 16);
    pen_release(&one);
    pen_release(&two);
    world_free(w);
}

/* Says of each stream that its last header is another one, and keeps us looking where they part. */
static void test_who_lies_about_all_streams_leaves_room(void)
{
    enum { MANY = PROBES_MAX };
    struct world *w = world_new();
    struct vec_stream claim[MANY];
    for (uint8_t i = 0; i < MANY; i++) {
        struct pen p = pen_new(w, 2, i + 1);
        pen_file(&p, "f", "x");
        pen_seal(&p);
        EQ_I(hear(w, 0, 2, (struct pen *[]){&p}, 1), 1);
        size_t at = i;
        while (at > 0 && sid_cmp(&claim[at - 1].sid, &p.sid) > 0) {
            claim[at] = claim[at - 1];
            at--;
        }
        claim[at] = (struct vec_stream){.sid = p.sid, .known = 1, .content = 1};
        pen_release(&p);
    }
    for (size_t liar = 1; liar <= 2; liar++) {
        AUTO(buf_release) struct buf blob = BUF_INIT(LIMIT_BODY);
        struct vec v = {.group = w->group.id, .dev = w->d[liar].keys->dev, .ctr = 1, .ctl_hash = w->group.id, .stream = claim, .nstream = MANY};
        must(vec_encode(&blob, &v, w->d[liar].keys));
        must(engine_vector(w->d[0].e, blob.data, blob.len, NULL, NULL));
        EQ_U(w->d[0].e->nprobe, liar * PROBES_MAX / 4);
    }
    world_free(w);
}

int main(void)
{
    must(keys_init());
    RUN(test_the_place_is_found);
    RUN(test_any_place_is_found);
    RUN(test_both_sign_again);
    RUN(test_who_lies_about_all_streams_leaves_room);
    return t_done();
}
