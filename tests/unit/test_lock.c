/* A version that is required of devices, as engines see it: when one is locked, when it has reached it, and what it keeps to itself. */
#include "tests/unit/t_lock.h"

/* ---- when it is reached ---- */

static void test_content_of_every_cut(void)
{
    struct world *w = world_ahead();
    require(w, 1, REQUIRE_AUTO, EVERYBODY);
    EQ_U(look(w, 0), LOCK_REACHED);                  /* what it has itself */
    EQ_U(look(w, 2), LOCK_LOCKED);
    install_path(w, 2, "a");
    EQ_U(look(w, 2), LOCK_LOCKED);
    install_path(w, 2, "b");
    EQ_U(look(w, 2), LOCK_REACHED);
    part(w, 0, 2);
    save(w, 0, "a", "later");
    learn(w, 0, 2);
    EQ_U(look(w, 2), LOCK_REACHED);                  /* whatever comes later */
    world_free(w);
}

/* Of whom it does not even know the entries: that is behind, and not reached. */
static void test_entries_that_are_not_known(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "of the owner");
    require(w, 1, REQUIRE_AUTO, EVERYBODY);
    EQ_U(look(w, 2), LOCK_BEHIND);                   /* nobody is there */
    meet(w, 0, 2);
    EQ_U(look(w, 2), LOCK_LOCKED);
    part(w, 0, 2);
    learn(w, 0, 2);
    EQ_U(look(w, 2), LOCK_LOCKED);
    install(w, 2);
    EQ_U(look(w, 2), LOCK_REACHED);
    world_free(w);
}

/* The numbers of a stream with two histories say nothing. */
static void test_another_history(void)
{
    struct world *w = world_ahead();
    save(w, 0, "c", "more of the owner");            /* so that his vector does not show which history he has */
    learn(w, 0, 2);
    AUTO(request_release) struct request q = request(w, 1, 0, EVERYBODY);
    struct cut cut = {*engine_own_sid(w->d[0].e), 1, id_hash("another header", 14)};
    buf_clear(&q.min);
    mp_put_array(&q.min, 1);
    cut_put(&q.min, &cut);
    issue_request(w, &q);
    EQ_U(look(w, 2), LOCK_LOCKED);
    install(w, 2);
    EQ_U(look(w, 2), LOCK_LOCKED);                   /* nobody has that history: for as long as if they had gone */
    EQ_U(look_at(w, 2, 31001), LOCK_BEHIND);
    EQ_U(look(w, 0), LOCK_BEHIND);
    world_free(w);
}

/* Whose vector shows that he has another history is no help. */
static void test_another_history_at_all_others(void)
{
    struct world *w = world_ahead();
    AUTO(request_release) struct request q = request(w, 1, 0, EVERYBODY);
    struct cut cut = {*engine_own_sid(w->d[0].e), 1, id_hash("another header", 14)};
    buf_clear(&q.min);
    mp_put_array(&q.min, 1);
    cut_put(&q.min, &cut);
    issue_request(w, &q);
    EQ_U(look(w, 2), LOCK_BEHIND);
    world_free(w);
}

/* What does not count any more is waited for by nobody, and nobody who has the rest is behind. */
static void test_stream_that_is_cut(void)
{
    struct world *w = world_new();
    save(w, 1, "a", "counts");
    spread(w, 1);
    struct cut kept[4];
    uint32_t n = cuts_of(w, 1, kept);
    save(w, 1, "b", "does not");
    pull_entries(w, 1, 0);
    install(w, 0);
    require(w, 1, REQUIRE_AUTO, EVERYBODY);
    learn(w, 0, 2);
    EQ_U(look(w, 2), LOCK_LOCKED);
    CHECK(engine_provable(w->d[0].e, w->group.requirement[0].what));
    struct ctl_op op = {.type = OP_REVOKE, .dev = w->d[1].keys->dev};
    issue(w, &op, kept, n);
    cuts(w, 2);
    cuts(w, 0);
    EQ_U(look(w, 2), LOCK_REACHED);
    struct peer_lock l;
    meet(w, 2, 0);
    CHECK(engine_lock_of(w->d[0].e, w->group.requirement[0].what, &w->d[2].keys->dev, &l));
    EQ_U(l.state, LOCK_REACHED);
    CHECK(!engine_provable(w->d[0].e, w->group.requirement[0].what));      /* no vector can show the header that it names */
    world_free(w);
}

/* ---- who can help ---- */

static void test_grace(void)
{
    struct world *w = world_ahead();
    require(w, 1, REQUIRE_AUTO, EVERYBODY);
    EQ_U(look_at(w, 2, 5000), LOCK_LOCKED);
    part(w, 0, 2);
    EQ_U(look_at(w, 2, 6000), LOCK_LOCKED);
    EQ_U(look_at(w, 2, 35999), LOCK_LOCKED);
    meet(w, 0, 2);
    EQ_U(look_at(w, 2, 36500), LOCK_LOCKED);         /* it was there again: counted from the beginning */
    part(w, 0, 2);
    EQ_U(look_at(w, 2, 37000), LOCK_LOCKED);
    EQ_U(look_at(w, 2, 66999), LOCK_LOCKED);
    EQ_U(look_at(w, 2, 67001), LOCK_BEHIND);
    CHECK(!engine_holds_back(w->d[2].e));
    meet(w, 0, 2);
    EQ_U(look_at(w, 2, 67002), LOCK_LOCKED);
    part(w, 0, 2);
    EQ_U(look_at(w, 2, 67003), LOCK_LOCKED);         /* with a new time of grace */
    world_free(w);
}

/* Several who have a part each are help enough. */
static void test_served_in_parts(void)
{
    struct world *w = world_new();
    save(w, 1, "b", "of device 1");
    pull_entries(w, 1, 0);
    install(w, 0);
    require(w, 1, REQUIRE_AUTO, EVERYBODY);
    learn(w, 0, 2);
    part(w, 0, 2);
    EQ_U(look(w, 2), LOCK_BEHIND);
    meet(w, 1, 2);
    EQ_U(look(w, 2), LOCK_LOCKED);
    save(w, 0, "a", "of the owner");
    require(w, 2, REQUIRE_AUTO, EVERYBODY);
    part(w, 1, 2);
    EQ_U(look_at(w, 2, 2000), LOCK_BEHIND);          /* no grace: it was not locked by this one */
    meet(w, 1, 2);
    EQ_U(look(w, 2), LOCK_BEHIND);                   /* device 1 has nothing of what device 0 wrote */
    meet(w, 0, 2);
    EQ_U(look(w, 2), LOCK_LOCKED);
    world_free(w);
}

/* Who only knows the entries is no help. */
static void test_served_by_content(void)
{
    struct world *w = world_new();
    save(w, 1, "b", "of device 1");
    pull_entries(w, 1, 0);
    AUTO(request_release) struct request q = request(w, 1, 1, EVERYBODY);
    issue_request(w, &q);
    learn(w, 0, 2);
    EQ_U(look(w, 2), LOCK_BEHIND);
    install(w, 0);
    meet(w, 0, 2);
    EQ_U(look(w, 2), LOCK_LOCKED);
    world_free(w);
}

/* ---- its user ---- */

/* Who leaves paths out may not have what is waited for: that is seen by nothing coming. */
static void test_served_by_one_who_leaves_out(void)
{
    struct world *w = world_ahead();
    must(engine_begin(w->d[0].e));
    must(engine_rules(w->d[0].e, &(struct id){{1}}, true));
    commit(w, 0);
    meet(w, 0, 2);
    require(w, 1, REQUIRE_AUTO, EVERYBODY);
    EQ_U(look_at(w, 2, 1000), LOCK_LOCKED);
    EQ_U(look_at(w, 2, 30000), LOCK_LOCKED);
    engine_lock_progress(w->d[2].e, 30000);
    EQ_U(look_at(w, 2, 59999), LOCK_LOCKED);
    EQ_U(look_at(w, 2, 60001), LOCK_LOCKED);         /* now as if he had gone */
    EQ_U(look_at(w, 2, 90002), LOCK_BEHIND);
    EQ_U(look_at(w, 2, 200000), LOCK_BEHIND);        /* and so it stays */
    require(w, 2, REQUIRE_PROMPT, EVERYBODY);
    EQ_U(look_at(w, 2, 300000), LOCK_WAITS);
    EQ_U(look_at(w, 2, 900000), LOCK_WAITS);         /* nobody has been asked */
    meet(w, 1, 2);
    must(engine_lock_accept(w->d[2].e, w->wall));
    EQ_U(look_at(w, 2, 900001), LOCK_LOCKED);
    world_free(w);
}

static void test_prompt(void)
{
    struct world *w = world_ahead();
    require(w, 1, REQUIRE_PROMPT, EVERYBODY);
    EQ_I(engine_lock_accept(w->d[2].e, w->wall), ERR_NOTFOUND);
    EQ_U(look(w, 2), LOCK_WAITS);
    CHECK(!allows(w, 2, "a"));
    restart(w, 2, 9);
    meet(w, 0, 2);
    EQ_U(look(w, 2), LOCK_WAITS);
    OK(engine_lock_accept(w->d[2].e, w->wall));
    EQ_U(look(w, 2), LOCK_LOCKED);
    CHECK(allows(w, 2, "a"));
    EQ_I(engine_lock_accept(w->d[2].e, w->wall), ERR_NOTFOUND);
    restart(w, 2, 10);
    meet(w, 0, 2);
    EQ_U(look(w, 2), LOCK_LOCKED);                   /* asked once */
    save(w, 0, "c", "new");
    require(w, 2, REQUIRE_PROMPT, EVERYBODY);
    meet(w, 0, 2);
    EQ_U(look(w, 2), LOCK_WAITS);                    /* another one is another question */
    world_free(w);
}

static void test_override(void)
{
    struct world *w = world_ahead();
    require(w, 1, REQUIRE_AUTO, EVERYBODY);
    EQ_I(engine_lock_override(w->d[2].e, w->wall), ERR_NOTFOUND);
    EQ_U(look(w, 2), LOCK_LOCKED);
    OK(engine_lock_override(w->d[2].e, w->wall));
    CHECK(!engine_holds_back(w->d[2].e));
    EQ_U(look(w, 2), LOCK_OVERRIDDEN);
    CHECK(allows(w, 2, "a"));
    restart(w, 2, 9);
    meet(w, 0, 2);
    EQ_U(look(w, 2), LOCK_OVERRIDDEN);
    install(w, 2);
    EQ_U(look(w, 2), LOCK_REACHED);                  /* it has it all the same */
    world_free(w);
}

/* Only what is required is put on the disk meanwhile, and what makes room for it. */
static void test_what_is_allowed(void)
{
    struct world *w = world_ahead();
    require(w, 1, REQUIRE_AUTO, EVERYBODY);
    save(w, 0, "gone", "not required");
    learn(w, 0, 2);
    install_path(w, 2, "gone");
    part(w, 0, 2);
    save(w, 0, "later", "not required");
    delete(w, 0, "gone");
    learn(w, 0, 2);
    CHECK(allows(w, 2, "later"));
    EQ_U(look(w, 2), LOCK_LOCKED);
    CHECK(allows(w, 2, "a") && allows(w, 2, "b") && !allows(w, 2, "later") && allows(w, 2, "gone"));
    install_path(w, 2, "a");
    install_path(w, 2, "b");
    EQ_U(look(w, 2), LOCK_REACHED);
    CHECK(allows(w, 2, "later"));
    world_free(w);
}

/* ---- its end ---- */

static void test_cancel(void)
{
    struct world *w = world_ahead();
    require(w, 1, REQUIRE_AUTO, EVERYBODY);
    EQ_U(look(w, 2), LOCK_LOCKED);
    cancel(w, 1);
    EQ_U(look(w, 2), LOCK_NONE);
    CHECK(!engine_holds_back(w->d[2].e));
    EQ_U(look(w, 0), LOCK_NONE);
    world_free(w);
}

/* By the clock of the device: when that goes back, it counts again; what was reached stays so. */
static void test_expiry(void)
{
    struct world *w = world_ahead();
    AUTO(request_release) struct request q = request(w, 1, 0, EVERYBODY);
    q.op.until_ms = w->wall + 1000;
    issue_request(w, &q);
    EQ_U(look(w, 0), LOCK_REACHED);
    EQ_U(look(w, 2), LOCK_LOCKED);
    w->wall += 999;
    EQ_U(look(w, 2), LOCK_LOCKED);
    w->wall++;
    EQ_U(look(w, 2), LOCK_NONE);
    EQ_U(look(w, 0), LOCK_REACHED);
    w->wall -= 500;
    EQ_U(look(w, 2), LOCK_LOCKED);
    world_free(w);
}

/* Whoever belongs to the group no more would be locked for ever: nobody would serve it. */
static void test_revoked(void)
{
    struct world *w = world_ahead();
    require(w, 1, REQUIRE_PROMPT, EVERYBODY);
    EQ_U(look(w, 2), LOCK_WAITS);
    revoke(w, 2);
    EQ_U(look(w, 2), LOCK_NONE);
    CHECK(!engine_holds_back(w->d[2].e));
    world_free(w);
}

static void test_later_one(void)
{
    struct world *w = world_ahead();
    require(w, 1, REQUIRE_AUTO, EVERYBODY);
    EQ_U(look(w, 2), LOCK_LOCKED);
    save(w, 0, "c", "later");
    require(w, 2, REQUIRE_AUTO, EVERYBODY);
    learn(w, 0, 2);
    EQ_U(look(w, 2), LOCK_LOCKED);
    EQ_U(w->d[2].e->lock.of[0].state, LOCK_BEHIND);  /* the first one counts no more */
    install_path(w, 2, "a");
    install_path(w, 2, "b");
    EQ_U(look(w, 2), LOCK_LOCKED);
    EQ_U(w->d[2].e->lock.of[0].state, LOCK_REACHED);
    CHECK(engine_holds_back(w->d[2].e));
    install_path(w, 2, "c");
    EQ_U(look(w, 2), LOCK_REACHED);
    save(w, 0, "d", "for device 1 alone");
    require(w, 3, REQUIRE_AUTO, 1);
    meet(w, 0, 2);
    EQ_U(look(w, 2), LOCK_REACHED);
    EQ_U(w->d[2].e->lock.n, 2);
    world_free(w);
}

/* ---- a restart ---- */

static void test_restart(void)
{
    struct world *w = world_ahead();
    save(w, 2, "mine", "before");
    require(w, 1, REQUIRE_AUTO, EVERYBODY);
    EQ_U(look(w, 2), LOCK_LOCKED);
    save(w, 2, "mine", "while locked");
    restart(w, 2, 9);
    EQ_U(look_at(w, 2, 1), LOCK_LOCKED);             /* nobody is there yet */
    EQ_U(look_at(w, 2, 30001), LOCK_LOCKED);
    CHECK(engine_holds_back(w->d[2].e));
    EQ_U(lock_shown(w->d[2].e, &engine_stream(w->d[2].e, w->d[2].e->own)->row), 1);
    EQ_U(look_at(w, 2, 30002), LOCK_BEHIND);
    world_free(w);
}

/* A transaction that comes to nothing changes nothing about the lock. */
static void test_rollback(void)
{
    struct world *w = world_ahead();
    require(w, 1, REQUIRE_AUTO, EVERYBODY);
    EQ_U(look(w, 2), LOCK_LOCKED);
    struct ix_want want = want_of(w, 2, "a");
    must(engine_begin(w->d[2].e));
    must(engine_installed(w->d[2].e, want.entry, &(struct stamp){.kind = STAMP_FILE, .mode = 0644}, true));
    engine_rollback(w->d[2].e);
    install_path(w, 2, "b");
    EQ_U(look(w, 2), LOCK_LOCKED);
    CHECK(engine_holds_back(w->d[2].e));
    world_free(w);
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    RUN(test_content_of_every_cut);
    RUN(test_entries_that_are_not_known);
    RUN(test_another_history);
    RUN(test_another_history_at_all_others);
    RUN(test_stream_that_is_cut);
    RUN(test_grace);
    RUN(test_served_in_parts);
    RUN(test_served_by_content);
    RUN(test_served_by_one_who_leaves_out);
    RUN(test_prompt);
    RUN(test_override);
    RUN(test_what_is_allowed);
    RUN(test_cancel);
    RUN(test_expiry);
    RUN(test_revoked);
    RUN(test_later_one);
    RUN(test_restart);
    RUN(test_rollback);
    return t_done();
}
