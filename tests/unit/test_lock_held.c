/* A version that is required: what a locked device keeps to itself, who wins, what is declared, and what is believed of others. */
#include "tests/unit/t_lock.h"

/* ---- what is held back ---- */

/* What device i would answer to whoever asks for everything of the stream: bytes. */
static size_t served(struct world *w, size_t i, const struct sid *sid)
{
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
    struct msg_range all = {.sid = *sid, .from = 1, .to = 1000};
    must(engine_serve_cs(w->d[i].e, &all, 1, LIMIT_CS_REPLY, &body));
    return body.len;
}

/* Live entries that it would prove to an auditor. */
static uint32_t proved(struct world *w, size_t i)
{
    static const struct bytes all;
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
    uint64_t next;
    struct mp m;
    must(engine_serve_live(w->d[i].e, &all, &all, 0, &next, &body));
    m = mp_reader(body.data, body.len);
    return mp_array(&m, 1000);
}

static uint64_t shown_of(struct world *w, size_t i, const struct sid *sid)
{
    AUTO(vec_release) struct vec v = vector_of(w, i);
    const struct vec_stream *s = vec_find(&v, sid);
    return s ? s->known : 0;
}

static void test_held_back(void)
{
    struct world *w = world_ahead();
    save(w, 2, "mine", "before");
    const struct sid sid = *engine_own_sid(w->d[2].e);
    require(w, 1, REQUIRE_AUTO, EVERYBODY);
    EQ_U(look(w, 2), LOCK_LOCKED);
    size_t bytes = served(w, 2, &sid);
    uint32_t live = proved(w, 2);
    save(w, 2, "mine", "while locked");
    save(w, 2, "more", "while locked");
    EQ_U(shown_of(w, 2, &sid), 1);
    EQ_U(served(w, 2, &sid), bytes);
    EQ_U(proved(w, 2), live - 1);                    /* "mine" of before is dead */
    pull_entries(w, 2, 1);
    EQ_U(engine_known_of(w->d[1].e, &sid), 1);
    install(w, 2);
    EQ_U(look(w, 2), LOCK_REACHED);
    EQ_U(shown_of(w, 2, &sid), 3);
    EQ_U(pull_entries(w, 2, 1), 2);
    EQ_S((install(w, 1), shows(w, 1, "mine")), "while locked");
    world_free(w);
}

/* A new incarnation while it is locked is a new stream: nothing of it is shown, and the tip of the old one stays what it was. */
static void test_held_back_in_a_new_incarnation(void)
{
    struct world *w = world_ahead();
    save(w, 2, "mine", "before");
    const struct sid old = *engine_own_sid(w->d[2].e);
    require(w, 1, REQUIRE_AUTO, EVERYBODY);
    EQ_U(look(w, 2), LOCK_LOCKED);
    save(w, 2, "x", "while locked");
    must(engine_begin(w->d[2].e));
    must(engine_doubt(w->d[2].e));
    commit(w, 2);
    save(w, 2, "y", "while locked, under a new name");
    const struct sid fresh = *engine_own_sid(w->d[2].e);
    CHECK(!sid_eq(&old, &fresh));
    EQ_U(shown_of(w, 2, &old), 1);
    EQ_U(shown_of(w, 2, &fresh), 0);
    pull_entries(w, 2, 1);
    EQ_U(engine_known_of(w->d[1].e, &fresh), 0);
    AUTO(vec_release) struct vec v = vector_of(w, 2);
    EQ_MEM(vec_find(&v, &old)->tip8, engine_stream_by_sid(w->d[1].e, &old)->row.tip.b, 8);
    restart(w, 2, 9);
    EQ_U(shown_of(w, 2, &fresh), 0);
    meet(w, 0, 2);
    install(w, 2);
    EQ_U(look(w, 2), LOCK_REACHED);
    EQ_U(shown_of(w, 2, &old), 2);
    EQ_U(shown_of(w, 2, &fresh), 1);
    world_free(w);
}

/* ---- who wins ---- */

/* Devices 0 and 1 have written `a` without knowing of each other, device 1 later; all know both. */
static struct world *world_at_odds(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "of the owner");
    save(w, 1, "a", "later");
    for (size_t i = 0; i < DEVICES; i++)
        for (size_t k = 0; k < 2; k++)
            if (i != k)
                pull_entries(w, k, i);
    return w;
}

static void all_show(struct world *w, const char *text)
{
    for (size_t i = 0; i < DEVICES; i++) {
        (void)look(w, i);
        install(w, i);
        EQ_S(shows(w, i, "a"), text);
        same_state(w, 0, i);
    }
}

static void require_of(struct world *w, uint8_t id, size_t author)
{
    AUTO(request_release) struct request q = request(w, id, 0, EVERYBODY);
    const struct stream *s = engine_stream_by_sid(w->d[0].e, engine_own_sid(w->d[author].e));
    buf_clear(&q.min);
    mp_put_array(&q.min, 1);
    cut_put(&q.min, &(struct cut){s->row.sid, s->row.known, s->row.tip});
    issue_request(w, &q);
}

static void test_winners(void)
{
    struct world *w = world_at_odds();
    all_show(w, "later");
    require_of(w, 1, 0);
    all_show(w, "of the owner");
    EQ_U(conflicts(w, 2), 1);
    cancel(w, 1);
    all_show(w, "of the owner");                     /* that was agreed on */
    require_of(w, 2, 1);
    all_show(w, "later");
    world_free(w);
}

/* A deletion that is required is carried out where nobody has written since; what somebody wrote lives, as ever. */
static void test_required_deletion(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "of all");
    spread(w, 0);
    delete(w, 0, "a");
    require(w, 1, REQUIRE_AUTO, EVERYBODY);
    learn(w, 0, 1);
    EQ_U(look(w, 1), LOCK_LOCKED);
    EQ_S((install(w, 1), shows(w, 1, "a")), "");
    EQ_U(look(w, 1), LOCK_REACHED);
    save(w, 2, "a", "an edit of the old one");
    learn(w, 0, 2);
    EQ_U(look(w, 2), LOCK_REACHED);
    spread(w, 2);
    for (size_t i = 0; i < DEVICES; i++)
        EQ_S(shows(w, i, "a"), "an edit of the old one");
    world_free(w);
}

/* Killed between the record and the index: the next start chooses. */
static void test_winners_after_a_restart(void)
{
    struct world *w = world_at_odds();
    all_show(w, "later");
    const struct stream *s = engine_stream(w->d[0].e, w->d[0].e->own);
    AUTO(request_release) struct request q = request(w, 1, 0, EVERYBODY);
    buf_clear(&q.min);
    mp_put_array(&q.min, 1);
    cut_put(&q.min, &(struct cut){s->row.sid, s->row.known, s->row.tip});
    issue_request(w, &q);
    restart(w, 2, 9);
    all_show(w, "of the owner");
    for (size_t i = 0; i < DEVICES; i++) {
        (void)look(w, i);
        restart(w, i, (uint8_t)(10 + i));
        EQ_I(engine_lock_look(w->d[i].e, w->wall, 1000), 0);
    }
    world_free(w);
}

/* A device that has the required content, but as a loser, has not reached it. */
static void test_reached_by_who_shows_it(void)
{
    struct world *w = world_at_odds();
    all_show(w, "later");
    require_of(w, 1, 0);
    meet(w, 0, 2);
    EQ_U(look(w, 0), LOCK_BEHIND);                   /* nor the device that wrote it: nobody shows it */
    EQ_U((install(w, 0), look(w, 0)), LOCK_REACHED);
    meet(w, 0, 2);
    EQ_U(look(w, 2), LOCK_LOCKED);
    install_path(w, 2, "a");
    EQ_U(look(w, 2), LOCK_REACHED);
    world_free(w);
}

/* Where something lives there must be a directory, also in the place of a required file: else a device would be locked for good. */
static void test_required_file_over_what_lives(void)
{
    struct world *w = world_new();
    save(w, 0, "a", "a file");
    require(w, 1, REQUIRE_AUTO, EVERYBODY);
    save(w, 2, "a/mine", "of its user");
    learn(w, 0, 2);
    EQ_U(look(w, 2), LOCK_LOCKED);
    must(engine_begin(w->d[2].e));
    EQ_I(engine_shelter(w->d[2].e, "a", 1, 0755, ++w->wall), 1);
    commit(w, 2);
    CHECK(allows(w, 2, "a"));
    install(w, 2);
    EQ_U(look(w, 2), LOCK_REACHED);
    pull_entries(w, 2, 0);
    EQ_U(conflicts(w, 0), 1);
    world_free(w);
}

/* ---- declaring it ---- */

/* Of a change set of which one file has not come yet nothing is required, nor of what follows; of those before it all is. */
static void test_declared_amid_a_change_set(void)
{
    struct world *w = world_new();
    save(w, 1, "a", "whole");
    struct id tip = engine_stream(w->d[1].e, w->d[1].e->own)->row.tip;
    must(engine_begin(w->d[1].e));
    for (size_t i = 0; i < 2; i++) {
        struct stamp st = {.kind = STAMP_FILE, .mode = 0644, .dev = 1, .ino = ++w->wall, .size = 1};
        struct content_list c = {.type = CONTENT_INLINE, .size = 1, .inline_len = 1, .root = id_hash("x", 1), .inline_bytes = (const uint8_t *)"x"};
        must(engine_seen(w->d[1].e, i ? "c" : "b", 1, &st, &c, true, w->wall));
    }
    commit(w, 1);
    save(w, 1, "d", "behind it");
    pull_entries(w, 1, 0);
    install_path(w, 0, "a");
    install_path(w, 0, "b");
    install_path(w, 0, "d");
    require(w, 1, REQUIRE_AUTO, EVERYBODY);
    const struct required *q = w->group.requirement[0].what;
    EQ_U(q->nmin, 1);
    EQ_U(q->min[0].seq, 1);
    CHECK(id_eq(&q->min[0].hdr_hash, &tip));
    EQ_U(look(w, 0), LOCK_REACHED);
    install(w, 0);
    require(w, 2, REQUIRE_AUTO, EVERYBODY);
    EQ_U(w->group.requirement[1].what->min[0].seq, 4);
    world_free(w);
}

/* A locked device may require what it has: then it is locked no more, and what it held back can be had. */
static void test_declared_by_who_is_locked(void)
{
    struct world *w = world_ahead();
    require(w, 1, REQUIRE_AUTO, EVERYBODY);
    EQ_U(look(w, 2), LOCK_LOCKED);
    save(w, 2, "mine", "while locked");
    AUTO(request_release) struct request q = request(w, 2, 2, EVERYBODY);
    issue_request(w, &q);
    EQ_U(look(w, 2), LOCK_REACHED);
    EQ_U(shown_of(w, 2, engine_own_sid(w->d[2].e)), 1);
    world_free(w);
}

/* ---- what is believed of others ---- */

static void claim(struct world *w, size_t from, size_t to, const struct vec_req *r, const struct vec_stream *s, size_t ns)
{
    AUTO(buf_release) struct buf blob = BUF_INIT(LIMIT_BODY), reqs = BUF_INIT(LIMIT_HEAD);
    mp_put_array(&reqs, 1);
    vec_req_put(&reqs, r);
    struct vec_stream copy[4];
    memcpy(copy, s, ns * sizeof *s);
    struct vec v = {.group = w->group.id, .dev = w->d[from].keys->dev, .ctr = ++w->wall, .wall_ms = w->wall, .ctl_n = w->group.ctl_n,
                    .ctl_hash = w->group.ctl_hash, .port = 1, .stream = copy, .nstream = ns, .reqs = {reqs.data, reqs.len}, .nreqs = 1};
    must(vec_encode(&blob, &v, w->d[from].keys));
    must(engine_vector(w->d[to].e, blob.data, blob.len, NULL, NULL));
}

static enum lock_state seen_of(struct world *w, size_t i, size_t k)
{
    struct peer_lock l = {.state = LOCK_NONE};
    CHECK(engine_lock_of(w->d[i].e, w->group.requirement[0].what, &w->d[k].keys->dev, &l));
    return l.state;
}

static void test_claims(void)
{
    struct world *w = world_new();
    struct peer_lock l;
    save(w, 0, "a", "of the owner");
    require(w, 1, REQUIRE_AUTO, EVERYBODY);
    const struct required *q = w->group.requirement[0].what;
    CHECK(!engine_lock_of(w->d[0].e, q, &w->d[2].keys->dev, &l));             /* it has not been heard of */
    struct vec_req r = {.state = LOCK_REACHED, .since_ms = 7};
    memcpy(r.id, q->id, sizeof r.id);
    struct vec_stream s = {.sid = q->min[0].sid, .known = 1, .content = 1};
    claim(w, 2, 0, &r, &s, 0);
    EQ_U(seen_of(w, 0, 2), LOCK_BEHIND);
    s.content = 0;
    claim(w, 2, 0, &r, &s, 1);
    EQ_U(seen_of(w, 0, 2), LOCK_BEHIND);
    s.content = 1;
    claim(w, 2, 0, &r, &s, 1);
    EQ_U(seen_of(w, 0, 2), LOCK_BEHIND);             /* of another history */
    memcpy(s.tip8, q->min[0].hdr_hash.b, sizeof s.tip8);
    claim(w, 2, 0, &r, &s, 1);
    EQ_U(seen_of(w, 0, 2), LOCK_REACHED);
    r.state = LOCK_WAITS;
    claim(w, 2, 0, &r, &s, 1);
    EQ_U(seen_of(w, 0, 2), LOCK_WAITS);
    r.id[0]++;
    claim(w, 2, 0, &r, &s, 1);
    EQ_U(seen_of(w, 0, 2), LOCK_NONE);               /* of another requirement it says nothing about this one */
    world_free(w);
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    RUN(test_held_back);
    RUN(test_held_back_in_a_new_incarnation);
    RUN(test_winners);
    RUN(test_required_deletion);
    RUN(test_winners_after_a_restart);
    RUN(test_reached_by_who_shows_it);
    RUN(test_required_file_over_what_lives);
    RUN(test_declared_amid_a_change_set);
    RUN(test_declared_by_who_is_locked);
    RUN(test_claims);
    return t_done();
}
