/* Connections that are dialled: device 1 dials, device 0 answers. */
#include <dirent.h>

#include "tests/unit/t_link.h"

static struct peer { struct link *link; struct link_config config; unsigned ups, downs, strangers, vectors, revoked, shut_out; char why[80]; bool unwanted;
                     uint64_t published; } peer[2];

static void ops_hello(void *arg, struct msg_hello *h)
{
    (void)arg;
    say_hello(1, h);
}
static bool ops_up(void *arg, struct link *l, const struct msg_hello *h)
{
    struct peer *p = arg;
    CHECK(p->link == l && id_eq(&h->dev, link_device(l)));
    p->ups++;
    return !p->unwanted;
}
static void ops_stranger(void *arg, struct link *l)
{
    (void)l;
    ((struct peer *)arg)->strangers++;
}
static void ops_revoked(void *arg, struct link *l, bool self)
{
    struct peer *p = arg;
    CHECK(p->link == l && link_state(l) == (self ? LINK_DEAD : LINK_GREETING));
    *(self ? &p->shut_out : &p->revoked) += 1;
}
static void ops_down(void *arg, struct link *l, const char *why)
{
    struct peer *p = arg;
    CHECK(p->link == l && link_state(l) == LINK_DEAD);
    p->downs++;
    snprintf(p->why, sizeof p->why, "%s", why);
}
static void ops_vector(void *arg, struct link *l, const void *blob, size_t len)
{
    (void)l;
    if (len == 6 && memcmp(blob, "vector", 6) == 0)
        ((struct peer *)arg)->vectors++;
}
static void ops_published(void *arg, struct link *l, uint64_t ctr)
{
    (void)l;
    ((struct peer *)arg)->published = ctr;
}

static void end(void)
{
    link_free(&peer[0].link);
    link_free(&peer[1].link);
    memset(peer, 0, sizeof peer);
    sides_end();
}
static void begin(void)
{
    end();
    sides_begin(2);
}
static uint64_t bulk_idle_ms, ping_timeout_ms;
static struct peer *dial(struct peer *p, const char *address)
{
    p->config = (struct link_config){ .loop = loop, .net = side[1].net, .keys = g.dev[1], .group = &g.group, .bulk_idle_ms = bulk_idle_ms,
                                      .ping_timeout_ms = ping_timeout_ms,
                                      .ops = { ops_hello, ops_up, ops_stranger, ops_revoked, ops_down, ops_vector, ops_published, p } };
    t_must(link_dial(&p->config, address, &p->link));
    return p;
}
static bool is_up(void *arg) { return ((struct peer *)arg)->ups > 0; }
static bool is_told_of(void *arg) { return ((struct peer *)arg)->revoked > 0; }
static bool is_down(void *arg) { return ((struct peer *)arg)->downs > 0; }
static bool is_strange(void *arg) { return ((struct peer *)arg)->strangers > 0; }
static struct peer *up(void)
{
    struct peer *p = dial(&peer[0], side[0].address);
    UNTIL(loop, is_up, p);
    EQ_U(link_state(p->link), LINK_UP);
    return p;
}

static void test_greeting(void)
{
    begin();
    struct peer *p = up();
    CHECK(id_eq(link_device(p->link), &g.dev[0]->dev));
    EQ_U(link_inst(p->link)[0], 1);
    EQ_S(link_address(p->link), side[0].address);
    EQ_U(side[0].hellos, 1);
    EQ_U(p->downs, 0);
}

static void refused(enum answer how, const char *why)
{
    begin();
    side[0].answer = how;
    struct peer *p = dial(&peer[0], side[0].address);
    UNTIL(loop, is_down, p);
    EQ_S(p->why, why);
    EQ_U(p->ups, 0);
    EQ_U(p->downs, 1);
}
static void test_member_cannot_pose_as_another(void) { refused(POSES, "greeting not genuine"); }
static void test_answer_to_another_is_refused(void) { refused(FOR_ANOTHER, "greeting not genuine"); }
static void test_other_group_is_refused(void) { refused(OTHER_GROUP, "greeting not genuine"); }
static void test_refusal(void) { refused(REFUSES, "greeting refused"); }

/* A program of a later year: with a version in common it is a peer like any other, without it is none. */
static void test_other_protocol_versions(void)
{
    refused(NEWER_ONLY, "greeting not genuine");
    begin();
    side[0].answer = NEWER_TOO;
    up();
}

static void test_recording_is_refused(void)
{
    begin();
    up();
    side[0].answer = REPLAY;
    struct peer *p = dial(&peer[1], side[0].address);
    UNTIL(loop, is_down, p);
    EQ_S(p->why, "greeting not genuine");
}

static void test_revoked_device_is_refused(void)
{
    begin();
    side_start(2, "127.0.0.1:0");
    t_group_revoke(&g, 2);
    struct peer *p = dial(&peer[0], side[2].address);
    UNTIL(loop, is_told_of, p);          /* and lives on, so that it can be told */
    EQ_U(p->ups + p->downs + p->strangers + p->shut_out, 0);
    link_kill(p->link, "told");
    UNTIL(loop, is_down, p);
    EQ_U(p->revoked, 1);
    begin();
    side_start(2, "127.0.0.1:0");
    t_group_revoke(&g, 2);
    p = dial(&peer[0], side[2].address);
    p->config.ops.revoked = NULL;        /* nobody wants to */
    link_free(&p->link);
    t_must(link_dial(&p->config, side[2].address, &p->link));
    UNTIL(loop, is_down, p);
    EQ_S(p->why, "greeting not genuine");
}

/* Device 1 is the one that dials. */
static void test_revoked_device_hears_that_it_is_shut_out(void)
{
    begin();
    t_group_revoke(&g, 1);
    struct peer *p = dial(&peer[0], side[0].address);
    UNTIL(loop, is_down, p);
    EQ_U(p->shut_out, 1);
    EQ_U(p->ups + p->revoked, 0);
}

/* Everybody has to come in anew, at the same address; whoever may not any more does not. */
static void test_shaken_off(void)
{
    begin();
    for (int i = 0; i < 3; i++) {
        struct peer *p = up();
        net_shake_off(side[0].net);
        UNTIL(loop, is_down, p);
        EQ_S(p->why, "disconnected");
        link_free(&p->link);
        memset(p, 0, sizeof *p);
    }
    struct peer *p = up();
    t_group_revoke(&g, 1);
    net_shake_off(side[0].net);
    UNTIL(loop, is_down, p);
    link_free(&p->link);
    p = dial(&peer[1], side[0].address);
    UNTIL(loop, is_down, p);
    EQ_U(p->shut_out, 1);
}

static void test_unknown_device_with_our_server_key(void)
{
    begin();
    side_start(3, "127.0.0.1:0");
    struct peer *p = dial(&peer[0], side[3].address);
    UNTIL(loop, is_strange, p);
    EQ_U(link_state(p->link), LINK_GREETING);
    EQ_U(p->ups + p->downs, 0);
    link_kill(p->link, "enough");
    UNTIL(loop, is_down, p);
    EQ_S(p->why, "enough");
}

/* Both wait for the same time: nobody there, and somebody who does not answer. */
static void test_nobody_answers(void)
{
    begin();
    char address[80];
    snprintf(address, sizeof address, "127.0.0.1:%u", net_port(side[0].net) + 2u);
    side[0].answer = MUTE;
    dial(&peer[0], address);
    dial(&peer[1], side[0].address);
    UNTIL(loop, is_down, &peer[0]);
    UNTIL(loop, is_down, &peer[1]);
    EQ_S(peer[0].why, "no connection");
    CHECK(strcmp(peer[1].why, "no connection") == 0 || strcmp(peer[1].why, "greeting not answered") == 0);
    EQ_U(side[0].hellos, 1);
}

static void test_unwanted_link_dies(void)
{
    begin();
    peer[0].unwanted = true;
    struct peer *p = dial(&peer[0], side[0].address);
    UNTIL(loop, is_down, p);
    EQ_S(p->why, "not needed");
    EQ_U(p->ups, 1);
}

static void test_bad_addresses(void)
{
    static const char *const bad[] = { "", "host", "127.0.0.1:x" };
    begin();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        peer[0].config = (struct link_config){ .loop = loop, .net = side[1].net, .keys = g.dev[1], .group = &g.group };
        EQ_I(link_dial(&peer[0].config, bad[i], &peer[0].link), ERR_USAGE);
    }
}

/* ---- requests ---- */

static unsigned answers, failures;
static void on_answer(void *arg, const struct msg *m, zmq_msg_t *body)
{
    (void)arg, (void)body;
    answers += m != NULL;
    failures += m == NULL;
}
static void ask(struct peer *p, enum link_lane lane, uint64_t ms)
{
    struct msg m = { .type = MSG_PING };
    link_request(p->link, lane, &m, ms, on_answer, NULL);
}
static bool all_called_back(void *arg)
{
    return answers + failures == *(unsigned *)arg;
}
static bool has_pinged(void *arg)
{
    (void)arg;
    return side[0].pings > 0;
}

static void test_requests_are_answered(void)
{
    begin();
    struct peer *p = up();
    answers = failures = 0;
    for (int i = 0; i < 50; i++)
        ask(p, LANE_CONTROL, T_DEADLINE_MS);
    UNTIL(loop, all_called_back, &(unsigned){ 50 });
    EQ_U(answers, 50);
}

static bool knows_of_a_vector(void *arg) { return ((struct peer *)arg)->published == T_PUBLISHED; }

static void test_hears_what_was_published(void)
{
    begin();
    struct peer *p = up();
    UNTIL(loop, knows_of_a_vector, p);
    EQ_U(p->vectors, 0);
}

static void test_bulk_lane_can_be_used_at_once(void)
{
    begin();
    struct peer *p = up();
    answers = failures = 0;
    ask(p, LANE_BULK, T_DEADLINE_MS);
    UNTIL(loop, all_called_back, &(unsigned){ 1 });
    EQ_U(answers, 1);
}

/* Two ends and what belongs to them; libzmq closes them by and by. */
enum { FILES_OF_A_LANE = 3 };
static size_t open_files(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}
static bool has_closed_lane(void *before) { return open_files() + FILES_OF_A_LANE <= *(size_t *)before; }
static void ask_bulk(struct peer *p, unsigned want)
{
    ask(p, LANE_BULK, T_DEADLINE_MS);
    UNTIL(loop, all_called_back, &want);
    EQ_U(answers, want);
}

static void test_bulk_lane_is_there_while_it_is_used(void)
{
    begin();
    bulk_idle_ms = 1;
    struct peer *p = up();
    answers = failures = 0;
    size_t without = open_files();
    ask_bulk(p, 1);
    size_t with = open_files();
    CHECK(with >= without + FILES_OF_A_LANE);
    UNTIL(loop, has_closed_lane, &with);
    ask_bulk(p, 2);
    side[0].answer = MUTE;
    ask(p, LANE_CONTROL, 1);                             /* its end is a moment at which lanes are looked at */
    ask(p, LANE_BULK, T_DEADLINE_MS);
    with = open_files();
    CHECK(!t_within(loop, 1100, has_closed_lane, &with));      /* somebody waits for an answer on it */
    EQ_U(failures, 1);
    EQ_U(link_state(p->link), LINK_UP);
    bulk_idle_ms = 0;
}

static void test_time_out_calls_back_once(void)
{
    begin();
    struct peer *p = up();
    answers = failures = 0;
    side[0].answer = MUTE;
    ask(p, LANE_CONTROL, 50);
    UNTIL(loop, has_pinged, NULL);
    UNTIL(loop, all_called_back, &(unsigned){ 1 });
    EQ_U(failures, 1);
    side[0].answer = HONEST;
    net_reply(side[0].net, &side[0].from, &(struct msg){ .type = MSG_PONG, .req = side[0].req }, NULL);   /* too late */
    ask(p, LANE_CONTROL, T_DEADLINE_MS);
    UNTIL(loop, all_called_back, &(unsigned){ 2 });
    EQ_U(answers, 1);
    EQ_U(link_state(p->link), LINK_UP);
}

static void test_death_calls_back_once(void)
{
    begin();
    struct peer *p = up();
    answers = failures = 0;
    side[0].answer = MUTE;
    for (int i = 0; i < 5; i++)
        ask(p, LANE_CONTROL, T_DEADLINE_MS);
    link_kill(p->link, "enough");
    link_kill(p->link, "twice");
    ask(p, LANE_CONTROL, T_DEADLINE_MS);
    EQ_U(failures, 0);
    UNTIL(loop, is_down, p);
    EQ_U(failures, 6);
    EQ_S(p->why, "enough");
    link_free(&p->link);
    EQ_U(failures, 6);
    EQ_U(p->downs, 1);
}

/* It sends vectors, and has no time for a PING; then it sends nothing. */
static struct loop_timer chatter;
static void speak(void *arg)
{
    net_publish(side[0].net, "vector", 6);
    loop_timer_set(loop, &chatter, 20, speak, arg);
}
static bool has_pinged_again(void *arg)
{
    (void)arg;
    return side[0].pings > 2;
}
static void test_who_is_busy_is_not_gone(void)
{
    begin();
    ping_timeout_ms = 1;
    struct peer *p = up();
    side[0].answer = MUTE;
    speak(NULL);
    UNTIL(loop, has_pinged_again, NULL);
    EQ_U(link_state(p->link), LINK_UP);
    loop_timer_clear(loop, &chatter);
    UNTIL(loop, is_down, p);
    EQ_S(p->why, "no answer");
    ping_timeout_ms = 0;
}

static void test_freeing_calls_back(void)
{
    begin();
    struct peer *p = up();
    answers = failures = 0;
    side[0].answer = MUTE;
    ask(p, LANE_CONTROL, T_DEADLINE_MS);
    link_free(&p->link);
    EQ_U(failures, 1);
    EQ_U(p->downs, 0);
}

static void test_restart_of_the_other_is_noticed(void)
{
    begin();
    struct peer *p = up();
    answers = failures = 0;
    side[0].answer = MUTE;
    ask(p, LANE_CONTROL, T_DEADLINE_MS);
    UNTIL(loop, has_pinged, NULL);
    net_free(&side[0].net);
    UNTIL(loop, is_down, p);
    EQ_S(p->why, "disconnected");
    EQ_U(failures, 1);
}

static void test_malformed_answer_ends_the_link(void)
{
    begin();
    struct peer *p = up();
    struct msg vec = { .type = MSG_VEC, .req = 99 };     /* without its body */
    net_reply(side[0].net, &side[0].from, &vec, NULL);
    UNTIL(loop, is_down, p);
    EQ_S(p->why, "malformed answer");
}

static struct loop_timer again;
static void publish(void *arg)
{
    net_publish(side[0].net, "vector", 6);
    loop_timer_set(loop, &again, 10, publish, arg);
}
static bool has_vector(void *arg) { return ((struct peer *)arg)->vectors > 0; }

static void test_vectors_arrive(void)
{
    begin();
    struct peer *p = up();
    publish(NULL);
    bool came = t_within(loop, T_DEADLINE_MS, has_vector, p);
    loop_timer_clear(loop, &again);
    CHECK(came);
}

int main(void)
{
    t_node_init();
    RUN(test_greeting);
    RUN(test_member_cannot_pose_as_another);
    RUN(test_answer_to_another_is_refused);
    RUN(test_other_group_is_refused);
    RUN(test_refusal);
    RUN(test_other_protocol_versions);
    RUN(test_recording_is_refused);
    RUN(test_revoked_device_is_refused);
    RUN(test_revoked_device_hears_that_it_is_shut_out);
    RUN(test_shaken_off);
    RUN(test_unknown_device_with_our_server_key);
    RUN(test_nobody_answers);
    RUN(test_unwanted_link_dies);
    RUN(test_bad_addresses);
    RUN(test_requests_are_answered);
    RUN(test_hears_what_was_published);
    RUN(test_bulk_lane_can_be_used_at_once);
    RUN(test_bulk_lane_is_there_while_it_is_used);
    RUN(test_time_out_calls_back_once);
    RUN(test_death_calls_back_once);
    RUN(test_who_is_busy_is_not_gone);
    RUN(test_freeing_calls_back);
    RUN(test_restart_of_the_other_is_noticed);
    RUN(test_malformed_answer_ends_the_link);
    RUN(test_vectors_arrive);
    end();
    return t_done();
}
