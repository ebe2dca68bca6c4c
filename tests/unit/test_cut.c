/* Devices that may write no more, as engines see them: what of their streams counts, in whatever order it and the control log come. */
#include "tests/unit/t_cut.h"

/* ---- the rule ---- */

static struct sid sid_of(uint8_t i) { return (struct sid){.b = {i}}; }

/* Cuts streams 1, 2... at these numbers. The role: 0 = REVOKE. */
static void cut(struct world *w, enum role role, const uint64_t *at, uint32_t n)
{
    struct cut c[4];
    struct ctl_op op = {.type = role ? OP_ROLE : OP_REVOKE, .dev = w->d[2].keys->dev, .role = role};
    for (uint32_t i = 0; i < n; i++)
        c[i] = (struct cut){sid_of((uint8_t)(i + 1)), at[i], id_hash("x", 1)};
    issue(w, &op, c, n);
}

static uint64_t end_of(struct world *w, size_t i, uint8_t sid, uint64_t began)
{
    struct sid s = sid_of(sid);
    return group_end(&w->group, &w->d[i].keys->dev, &s, began);
}

static void test_rule(void)
{
    struct world *w = world_new();
    struct sid one = sid_of(1);
    EQ_U(end_of(w, 2, 1, 0), UINT64_MAX);
    cut(w, 0, (uint64_t[]){9, 4}, 2);
    EQ_U(end_of(w, 2, 1, 0), 9);
    EQ_U(end_of(w, 2, 2, 99), 4);
    EQ_U(end_of(w, 2, 3, 99), 0);
    EQ_U(end_of(w, 1, 1, 0), UINT64_MAX);        /* whatever is named, only streams of the device are cut */
    CHECK(group_cut(&w->group, &w->d[2].keys->dev, &one));
    CHECK(!group_cut(&w->group, &w->d[1].keys->dev, &one));
    world_free(w);
}

/* What was cut stays so; streams that begin after the device may write again count. Of who does not write nothing is to be cut. */
static void test_rule_for_who_comes_back(void)
{
    struct world *w = world_new();                                  /* 2 records */
    cut(w, ROLE_READER, (uint64_t[]){5}, 1);
    EQ_U(end_of(w, 2, 2, 2), 0);
    cut(w, ROLE_READER, (uint64_t[]){5, 7}, 2);
    EQ_U(end_of(w, 2, 2, 3), 0);
    change_role(w, 2, ROLE_ADMIN, NULL, 0);                         /* record 5 */
    EQ_U(end_of(w, 2, 1, 5), 5);
    EQ_U(end_of(w, 2, 2, 4), 0);
    EQ_U(end_of(w, 2, 2, 5), UINT64_MAX);
    cut(w, 0, (uint64_t[]){3, 8, 6}, 3);
    EQ_U(end_of(w, 2, 1, 5), 3);                                    /* the earlier place counts */
    EQ_U(end_of(w, 2, 2, 5), 8);
    add_member(w, &w->d[2], "d2");                                  /* record 7 */
    EQ_U(end_of(w, 2, 2, 7), 8);
    EQ_U(end_of(w, 2, 4, 6), 0);
    EQ_U(end_of(w, 2, 4, 7), UINT64_MAX);
    cut(w, 0, (uint64_t[]){9, 9, 9}, 3);
    EQ_U(end_of(w, 2, 1, 7), 3);
    EQ_U(end_of(w, 2, 2, 7), 8);
    EQ_U(end_of(w, 2, 3, 7), 6);
    world_free(w);
}

/* ---- what was taken before stays, what lies beyond goes ---- */

/* Device 2 has written more than device 0, who revokes it, had of it; device 1 has all of that, and on its disk. */
static struct world *world_with_news(void)
{
    struct world *w = world_new();
    save(w, 2, "a", "before");
    save(w, 2, "gone", "is here");
    spread(w, 2);
    save(w, 0, "mine", "of the owner");
    spread(w, 0);
    save(w, 2, "a", "later");
    save(w, 2, "mine", "of the revoked");
    save(w, 2, "new", "of the revoked");
    delete(w, 2, "gone");
    pull_entries(w, 2, 1);
    install(w, 1);
    EQ_S(shows(w, 1, "a"), "later");
    EQ_S(shows(w, 1, "gone"), "");
    return w;
}

static void test_withdrawn(void)
{
    struct world *w = world_with_news();
    revoke(w, 2);
    EQ_I(cuts(w, 0), 0);
    EQ_I(cuts(w, 1), 1);
    EQ_I(cuts(w, 1), 0);
    EQ_U(want_of(w, 1, "new").role, WANT_HIDE);
    same_state(w, 0, 1);
    EQ_U(install(w, 1), 4);
    EQ_S(shows(w, 1, "a"), "before");
    EQ_S(shows(w, 1, "gone"), "is here");
    EQ_S(shows(w, 1, "mine"), "of the owner");
    EQ_S(shows(w, 1, "new"), "");
    same_state(w, 0, 1);
    EQ_U(tally(w, 1, "new").rows, 1);            /* to be read */
    EQ_U(tally(w, 1, "new").live, 0);
    uint64_t files, bytes;
    engine_totals(w->d[1].e, &files, &bytes);
    EQ_U(files, 3);
    restart(w, 1, 77);
    EQ_I(cuts(w, 1), 0);
    same_state(w, 0, 1);
    EQ_I(cuts(w, 2), 0);                         /* of itself it withdraws nothing */
    EQ_S(shows(w, 2, "new"), "of the revoked");
    world_free(w);
}

static void test_the_record_comes_first(void)
{
    struct world *w = world_with_news();
    revoke(w, 2);
    EQ_I(cuts(w, 0), 0);
    must(engine_begin(w->d[0].e));
    engine_rollback(w->d[0].e);
    EQ_I(pull_entries(w, 1, 0), 0);              /* device 1 has not heard of it, and is not asked for it */
    CHECK(engine_have_all_of(w->d[0].e, &w->d[1].keys->dev));
    EQ_S(shows(w, 0, "a"), "before");
    EQ_I(cuts(w, 1), 1);
    install(w, 1);
    same_state(w, 0, 1);
    world_free(w);
}

/* What was written before the cut is taken after it, too, from whomever it comes; what it does not name, never. */
static void test_what_counts_is_still_taken(void)
{
    struct world *w = world_new();
    struct pen p = pen_new(w, 2, 9), other = pen_new(w, 2, 8);
    pen_file(&p, "a", "one");
    pen_seal(&p);
    pen_file(&p, "b", "two");
    pen_seal(&p);
    EQ_I(hear(w, 0, 2, (struct pen *[]){&p}, 1), 2);
    pen_file(&p, "c", "three");
    pen_seal(&p);
    pen_file(&other, "d", "four");
    pen_seal(&other);
    revoke(w, 2);
    EQ_I(hear(w, 1, 0, (struct pen *[]){&p}, 1), 2);
    EQ_U(engine_known_of(w->d[1].e, &p.sid), 2);
    EQ_I(hear(w, 1, 0, (struct pen *[]){&other}, 1), ERR_DENIED);
    EQ_U(engine_known_of(w->d[1].e, &other.sid), 0);
    same_state(w, 0, 1);
    pen_release(&p);
    pen_release(&other);
    world_free(w);
}

/* An admin may name any number: change sets count whole, or not at all. */
static void test_in_the_middle_of_a_change_set(void)
{
    struct world *w = world_new();
    struct pen p = pen_new(w, 2, 9);
    pen_file(&p, "a", "one");
    pen_seal(&p);
    for (int i = 0; i < 3; i++)
        pen_file(&p, "b", "two");
    pen_seal(&p);
    EQ_I(hear(w, 0, 2, (struct pen *[]){&p}, 1), 4);
    struct cut c = {p.sid, 3, p.tip};
    change_role(w, 2, ROLE_READER, &c, 1);
    EQ_I(cuts(w, 0), 1);
    EQ_U(engine_known_of(w->d[0].e, &p.sid), 1);
    EQ_I(hear(w, 1, 0, (struct pen *[]){&p}, 1), 1);
    same_state(w, 0, 1);
    pen_release(&p);
    world_free(w);
}

/* ---- the disk ---- */

/* Who looks at it again before it is put away has not written it; who has changed it has. */
static void test_local_edits(void)
{
    struct world *w = world_with_news();
    revoke(w, 2);
    EQ_I(cuts(w, 1), 1);
    EQ_I(save(w, 1, "new", "of the revoked"), 0);
    EQ_I(save(w, 1, "a", "later"), 0);
    EQ_I(save(w, 1, "mine", "edited"), 1);
    EQ_I(save(w, 1, "new", "edited"), 1);
    EQ_U(want_of(w, 1, "new").role, 0);
    install(w, 1);
    EQ_S(shows(w, 1, "a"), "before");
    EQ_S(shows(w, 1, "new"), "edited");
    pull_entries(w, 1, 0);
    install(w, 0);
    EQ_S(shows(w, 0, "new"), "edited");
    EQ_U(conflicts(w, 1), 1);                    /* with what was there before the revoked one wrote */
    same_state(w, 0, 1);
    world_free(w);
}

/* What is still to go is beyond what the vector names. */
static void test_the_vector_meanwhile(void)
{
    struct world *w = world_new();
    save(w, 2, "a", "before");
    spread(w, 2);
    save(w, 2, "b", "1");
    save(w, 2, "b", "2");
    pull_entries(w, 2, 1);
    install(w, 1);
    revoke(w, 2);
    EQ_I(cuts(w, 1), 1);
    EQ_U(want_of(w, 1, "b").seq, 3);
    same_state(w, 0, 1);
    world_free(w);
}

static void test_a_deletion_of_what_goes(void)
{
    struct world *w = world_with_news();
    revoke(w, 2);
    EQ_I(cuts(w, 1), 1);
    EQ_I(delete(w, 1, "new"), 0);
    EQ_U(want_of(w, 1, "new").role, 0);
    world_free(w);
}

/* ---- conflicts ---- */

static void test_conflicts(void)
{
    struct world *w = world_new();
    save(w, 2, "a", "x");
    save(w, 0, "a", "y");
    pull_entries(w, 2, 0);
    pull_entries(w, 0, 1);
    save(w, 2, "b", "x");
    save(w, 1, "b", "y");
    pull_entries(w, 2, 1);
    EQ_U(conflicts(w, 1), 2);
    revoke(w, 2);
    EQ_I(cuts(w, 1), 1);
    EQ_U(conflicts(w, 1), 1);                    /* that of before stays */
    pull_entries(w, 1, 0);
    EQ_U(conflicts(w, 0), 1);
    same_state(w, 0, 1);
    world_free(w);
}

/* ---- the chain of records that counts ---- */

static void test_a_revocation_that_loses(void)
{
    struct world *w = world_with_news();
    struct group before, after;
    struct id was = figures(w, 1);
    group_copy(&before, &w->group);
    revoke(w, 2);
    EQ_I(cuts(w, 1), 1);
    CHECK(!id_eq(&was, &(struct id[]){figures(w, 1)}[0]));
    after = w->group;
    w->group = before;
    EQ_I(cuts(w, 1), 1);
    CHECK(id_eq(&was, &(struct id[]){figures(w, 1)}[0]));
    EQ_U(install(w, 1), 1);                      /* nothing had gone yet; that the deleted one is not there is seen to */
    EQ_S(shows(w, 1, "new"), "of the revoked");
    w->group = after;
    EQ_I(cuts(w, 1), 1);
    install(w, 1);
    w->group = before;
    EQ_I(cuts(w, 1), 1);
    install(w, 1);
    EQ_S(shows(w, 1, "new"), "of the revoked");
    EQ_S(shows(w, 1, "gone"), "");
    same_state(w, 1, 2);
    group_release(&after);
    world_free(w);
}

/* It was on its way to kept/ when it came to count again. */
static void test_it_counts_again_while_it_goes(void)
{
    struct world *w = world_with_news();
    struct group after;
    struct group before;
    group_copy(&before, &w->group);
    revoke(w, 2);
    EQ_I(cuts(w, 1), 1);
    struct ix_want hide = want_of(w, 1, "new");
    after = w->group;
    w->group = before;
    EQ_I(cuts(w, 1), 1);
    must(engine_begin(w->d[1].e));
    must(engine_installed(w->d[1].e, hide.entry, &(struct stamp){0}, true));
    commit(w, 1);
    EQ_U(want_of(w, 1, "new").role, WANT_INSTALL);
    group_release(&after);
    world_free(w);
}

/* ---- who may write again ---- */

static void test_a_reader_writes_again(void)
{
    struct world *w = world_with_news();
    demote(w, 2);
    for (size_t i = 0; i < DEVICES; i++)
        EQ_I(cuts(w, i), i > 0);                 /* the device itself, too */
    install(w, 2);
    EQ_S(shows(w, 2, "a"), "before");
    EQ_I(save(w, 2, "as-reader", "x"), 0);
    change_role(w, 2, ROLE_MEMBER, NULL, 0);
    for (size_t i = 0; i < DEVICES; i++)
        EQ_I(cuts(w, i), 0);
    EQ_I(save(w, 2, "again", "back"), 1);
    spread(w, 2);
    EQ_S(shows(w, 0, "again"), "back");
    same_state(w, 0, 1);
    same_state(w, 0, 2);
    world_free(w);
}

/* It hears of both at once: what it had written meanwhile is its own, and it signs it again. */
static void test_what_it_may_sign_again(void)
{
    struct world *w = world_with_news();
    demote(w, 2);
    EQ_I(cuts(w, 1), 1);
    change_role(w, 2, ROLE_MEMBER, NULL, 0);
    for (size_t i = 0; i < DEVICES; i++)
        EQ_I(cuts(w, i), i == 2);
    EQ_U(install(w, 2), 0);
    pull_entries(w, 2, 0);
    pull_entries(w, 2, 1);
    install(w, 0);
    EQ_S(shows(w, 0, "new"), "of the revoked");
    EQ_S(shows(w, 0, "a"), "later");
    same_state(w, 0, 1);
    same_state(w, 0, 2);
    world_free(w);
}

/* A stream that was begun while its device might not write does not count afterwards. */
static void test_streams_from_between(void)
{
    struct world *w = world_new();
    demote(w, 2);
    struct pen between = pen_new(w, 2, 9);
    pen_file(&between, "a", "x");
    pen_seal(&between);
    change_role(w, 2, ROLE_MEMBER, NULL, 0);
    EQ_I(hear(w, 0, 2, (struct pen *[]){&between}, 1), ERR_DENIED);
    struct pen after = pen_new(w, 2, 8);
    pen_file(&after, "a", "y");
    pen_seal(&after);
    EQ_I(hear(w, 0, 2, (struct pen *[]){&after}, 1), 1);
    restart(w, 0, 78);
    EQ_I(cuts(w, 0), 0);
    EQ_U(engine_known_of(w->d[0].e, &after.sid), 1);
    pen_release(&between);
    pen_release(&after);
    world_free(w);
}

/* Of what it wrote before nothing counts, so nobody tells it. Who had that would not take another history under the same name. */
static void test_a_backup_from_before_it_wrote(void)
{
    struct world *w = world_new();
    save(w, 2, "a", "x");
    pull_entries(w, 2, 1);
    engine_free(&w->d[2].e);
    index_close(&w->d[2].ix);
    device_start(w, 2, 3);
    demote(w, 2);
    EQ_I(cuts(w, 1), 1);
    change_role(w, 2, ROLE_MEMBER, NULL, 0);
    EQ_I(cuts(w, 1), 0);
    EQ_I(cuts(w, 2), 0);
    EQ_I(save(w, 2, "a", "y"), 1);
    EQ_I(pull_entries(w, 2, 0), 1);
    EQ_I(pull_entries(w, 2, 1), 1);
    install(w, 1);
    EQ_S(shows(w, 1, "a"), "y");
    same_state(w, 0, 1);
    world_free(w);
}

/* It has signed it again, and somebody has deleted that; then the chain loses on which it had been a reader. */
static void test_a_deletion_of_what_was_signed_again(void)
{
    struct world *w = world_with_news();
    struct group before;
    group_copy(&before, &w->group);
    demote(w, 2);
    cuts(w, 1);
    change_role(w, 2, ROLE_MEMBER, NULL, 0);
    for (size_t i = 0; i < DEVICES; i++)
        cuts(w, i);
    spread(w, 2);
    EQ_S(shows(w, 0, "new"), "of the revoked");
    EQ_I(delete(w, 0, "new"), 1);
    spread(w, 0);
    struct group after = w->group;
    w->group = before;
    for (size_t i = 0; i < DEVICES; i++)
        cuts(w, i);
    for (size_t i = 0; i < DEVICES; i++)
        spread(w, i);
    for (size_t i = 0; i < DEVICES; i++)
        EQ_S(shows(w, i, "new"), "");
    group_release(&after);
    world_free(w);
}

/* ---- two histories ---- */

/* Of the history that the cut does not name nothing is signed again. */
static void test_two_histories(void)
{
    struct world *w = world_new();
    struct pen one = pen_new(w, 2, 9), two = pen_new(w, 2, 9);
    pen_file(&one, "a", "named");
    pen_seal(&one);
    pen_file(&two, "b", "forged");
    pen_seal(&two);
    EQ_I(hear(w, 0, 2, (struct pen *[]){&one}, 1), 1);
    EQ_I(hear(w, 1, 2, (struct pen *[]){&two}, 1), 1);
    revoke(w, 2);
    EQ_I(cuts(w, 0), 0);
    EQ_I(cuts(w, 1), 0);
    EQ_I(prove(w, 0, &one, &two), 1);
    EQ_I(prove(w, 1, &one, &two), 1);
    EQ_U(tally(w, 0, "a").own, 1);
    EQ_U(tally(w, 1, "b").live, 0);
    pull_entries(w, 0, 1);
    pull_entries(w, 1, 0);
    same_state(w, 0, 1);
    pen_release(&one);
    pen_release(&two);
    world_free(w);
}

/* ---- snapshots ---- */

static void snapshot(struct world *w, size_t i)
{
    must(engine_begin(w->d[i].e));
    must(engine_snapshot_create(w->d[i].e, "s", ++w->wall));
    commit(w, i);
}

static bool covers(struct world *w, size_t i)
{
    const struct snapshot *s;
    size_t n;
    must(engine_snapshots(w->d[i].e, &s, &n));
    EQ_U(n, 1);
    return engine_covers(w->d[i].e, &s->vector);
}

/* Who made it then has it whole; nobody waits for what nobody passes on. */
static void test_a_snapshot_of_then(void)
{
    struct world *w = world_with_news();
    snapshot(w, 1);
    revoke(w, 2);
    EQ_I(cuts(w, 0), 0);
    EQ_I(cuts(w, 1), 1);
    CHECK(covers(w, 1));
    pull_entries(w, 1, 0);
    CHECK(covers(w, 0));
    same_state(w, 0, 1);
    world_free(w);
}

int main(void)
{
    must(keys_init());
    RUN(test_rule);
    RUN(test_rule_for_who_comes_back);
    RUN(test_withdrawn);
    RUN(test_the_record_comes_first);
    RUN(test_what_counts_is_still_taken);
    RUN(test_in_the_middle_of_a_change_set);
    RUN(test_local_edits);
    RUN(test_the_vector_meanwhile);
    RUN(test_a_deletion_of_what_goes);
    RUN(test_conflicts);
    RUN(test_a_revocation_that_loses);
    RUN(test_it_counts_again_while_it_goes);
    RUN(test_a_reader_writes_again);
    RUN(test_what_it_may_sign_again);
    RUN(test_streams_from_between);
    RUN(test_a_backup_from_before_it_wrote);
    RUN(test_a_deletion_of_what_was_signed_again);
    RUN(test_two_histories);
    RUN(test_a_snapshot_of_then);
    return t_done();
}
