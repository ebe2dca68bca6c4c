/* t_join: what the tests of joining share. The inviting node runs in this process; what comes from outside runs in a child, as a
 * script that ends with success or with a failed CHECK: joiner_run, or hand-made messages of somebody who does not keep to the
 * rules (struct stranger). The child is forked before any thread or socket exists.
 *
 *   struct world w = begin(script); start(&w); invite(&w, 0, ...); serve(&w); ... what is true now ... end(&w); */
#ifndef TESTS_UNIT_T_JOIN_H
#define TESTS_UNIT_T_JOIN_H

#include "node/inviter.h"

#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "node/config.h"
#include "node/home.h"
#include "node/joiner.h"
#include "node/log.h"
#include "tests/unit/temp_dir.h"

enum { CODES = 3, TTL_S = 900 };

/* What a script is told at its start. */
struct info { char at[80], mitm[80]; char code[CODES][CODE_TEXT]; };

/* ---- this side ---- */

struct world {
    struct home *home;
    struct loop *loop;
    struct pool *pool;
    struct net *net;
    struct inviter *inviter;
    struct info info;
    uint64_t number[CODES];
    int to_child, from_child;
    pid_t child;
    unsigned joined, ended, appended;
    uint64_t joined_number, ended_number;
    char joined_name[LIMIT_DEVICE_NAME + 1], why[200], hint[8];
    struct { void *front, *back; uint8_t route[64]; int routelen; unsigned relayed; } mitm;
};

static inline void on_joined(void *arg, uint64_t number, const struct id *dev, const char *name)
{
    struct world *w = arg;
    const struct member *m = group_find(control_group(w->home->control), dev);
    w->joined += m && strcmp(m->card.name, name) == 0;
    w->joined_number = number;
    snprintf(w->joined_name, sizeof w->joined_name, "%s", name);
}
static inline void on_ended(void *arg, uint64_t number, const char *why)
{
    struct world *w = arg;
    w->ended++;
    w->ended_number = number;
    snprintf(w->why, sizeof w->why, "%s", why);
    ssize_t n = write(w->to_child, "E", 1);
    (void)n;
}
static inline void on_appended(void *arg) { ((struct world *)arg)->appended++; }
static inline void on_hint(void *arg, const char *hint)
{
    struct world *w = arg;
    snprintf(w->hint, sizeof w->hint, "%s", hint ? hint : "none");
}

static inline void on_join(void *arg, const struct net_from *from, const struct msg *m, zmq_msg_t *body)
{
    inviter_message(((struct world *)arg)->inviter, from, m, body);
}
static inline void on_request(void *arg, const struct net_from *from, const struct msg *m, zmq_msg_t *body)
{
    (void)arg, (void)from, (void)m, (void)body;
}

static inline struct inviter *new_inviter(struct world *w, const struct home *h)
{
    struct inviter *i;
    struct inviter_config c = {.loop = w->loop, .pool = w->pool, .net = w->net, .keys = h->keys, .group_keys = h->group_keys,
                               .control = h->control, .ops = {on_joined, on_ended, on_appended, on_hint, w}};
    OK(inviter_new(&c, &i));
    return i;
}

/* An owner's home in temp, and a child that waits for its info and then runs the script. Its exit code says how it went. */
static inline struct world begin(void (*script)(const struct info *info, int from_parent))
{
    struct world w = {0};
    int down[2], up[2];
    temp_begin();
    AUTO(device_keys_free) struct device_keys *keys = device_keys_new();
    AUTO(buf_release) struct buf card = BUF_INIT(1024);
    struct card c = {.dev = keys->dev, .created_ms = 1, .name = "owner"};
    memcpy(c.tr_pk, keys->tr_pk, sizeof c.tr_pk);
    OK(card_encode(&card, &c, keys));
    OK(home_create(in_temp("owner"), &(struct home_parts){.keys = keys, .card = {card.data, card.len}, .folder = in_temp("owner-folder")}));
    CHECK(pipe(down) == 0 && pipe(up) == 0);
    fflush(stdout);
    w.child = fork();
    CHECK(w.child >= 0);
    if (w.child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(down[1]), close(up[0]);
        struct info info;
        if (setjmp(t_jump) || read(down[0], &info, sizeof info) != sizeof info)
            exit(1);
        script(&info, down[0]);
        exit(0);
    }
    close(down[0]), close(up[1]);
    w.to_child = down[1];
    w.from_child = up[0];
    OK(home_open(in_temp("owner"), &w.home));
    return w;
}

static inline void start(struct world *w)
{
    OK(loop_new(&w->loop));
    OK(pool_new(w->loop, 2, &w->pool));
    struct net_config c = {.loop = w->loop, .keys = w->home->keys, .group_keys = w->home->group_keys, .listen = "127.0.0.1:0",
                           .group = control_group(w->home->control), .ops = {on_request, on_join, w}};
    OK(net_new(&c, &w->net));
    snprintf(w->info.at, sizeof w->info.at, "%s", net_address(w->net));
    w->inviter = new_inviter(w, w->home);
}

static inline void invite(struct world *w, int n, enum role role, uint64_t ttl_s)
{
    OK(inviter_invite(w->inviter, role, ttl_s, w->info.code[n], &w->number[n]));
    char hint[3];
    code_hint(w->info.code[n], hint);
    EQ_S(w->hint, hint);
}

static inline void on_child_end(void *arg) { loop_stop(((struct world *)arg)->loop); }

/* Runs the node until the script has ended. */
static inline void serve(struct world *w)
{
    CHECK(write(w->to_child, &w->info, sizeof w->info) == sizeof w->info);
    loop_add_fd(w->loop, w->from_child, POLLIN, on_child_end, w);
    OK(loop_run(w->loop));
    int status;
    CHECK(waitpid(w->child, &status, 0) == w->child);
    w->child = 0;
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static inline void end(struct world *w)
{
    void *all[] = {w->mitm.front, w->mitm.back};
    for (int i = 0; i < 2; i++)
        if (all[i])
            zmq_close(all[i]);
    inviter_free(&w->inviter);
    pool_free(&w->pool);
    net_free(&w->net);
    home_close(&w->home, true);
    loop_free(&w->loop);
    close(w->to_child), close(w->from_child);
}

static inline const struct group *group_of(const struct world *w) { return control_group(w->home->control); }

/* ---- the other side: as it should be ---- */

static inline int join(const struct info *info, const char *name, const char *code, const char *at)
{
    char home[300], folder[300];
    (void)info;
    snprintf(home, sizeof home, "%s/%s", temp, name);
    snprintf(folder, sizeof folder, "%s/%s-folder", temp, name);
    return joiner_run(&(struct joiner_request){.home = home, .folder = folder, .name = name, .code = code, .at = at});
}

/* ---- the other side: as it likes ---- */

struct stranger { void *zmq, *socket; uint8_t pk[32], server[32]; struct msg m; zmq_msg_t head, body; };

static inline void stranger_open(struct stranger *s, const char *at)
{
    uint8_t sk[32];
    char ep[100];
    unsigned port;
    CHECK(sscanf(at, "127.0.0.1:%u", &port) == 1);
    snprintf(ep, sizeof ep, "tcp://127.0.0.1:%u", port + 2);
    keys_join_server(s->server, sk);
    crypto_box_keypair(s->pk, sk);
    int linger = 0, patience = 20000;
    CHECK((s->zmq = zmq_ctx_new()) && (s->socket = zmq_socket(s->zmq, ZMQ_DEALER)));
    CHECK(zmq_setsockopt(s->socket, ZMQ_CURVE_SERVERKEY, s->server, 32) == 0 &&
          zmq_setsockopt(s->socket, ZMQ_CURVE_PUBLICKEY, s->pk, 32) == 0 &&
          zmq_setsockopt(s->socket, ZMQ_CURVE_SECRETKEY, sk, 32) == 0 &&
          zmq_setsockopt(s->socket, ZMQ_LINGER, &linger, sizeof linger) == 0 &&
          zmq_setsockopt(s->socket, ZMQ_RCVTIMEO, &patience, sizeof patience) == 0 && zmq_connect(s->socket, ep) == 0);
    zmq_msg_init(&s->head);
    zmq_msg_init(&s->body);
}
static inline void stranger_close(struct stranger *s)
{
    zmq_msg_close(&s->head);
    zmq_msg_close(&s->body);
    zmq_close(s->socket);
    zmq_ctx_term(s->zmq);
}
/* Sends and waits for the answer in s->m. */
static inline enum msg_type ask(struct stranger *s, const struct msg *m, const void *body, size_t len)
{
    AUTO(buf_release) struct buf head = BUF_INIT(LIMIT_HEAD);
    OK(msg_encode(&head, m));
    CHECK(zmq_send(s->socket, head.data, head.len, body ? ZMQ_SNDMORE : 0) >= 0);
    CHECK(!body || zmq_send(s->socket, body, len, 0) >= 0);
    CHECK(zmq_msg_recv(&s->head, s->socket, 0) >= 0);
    if (zmq_msg_more(&s->head))
        CHECK(zmq_msg_recv(&s->body, s->socket, 0) >= 0);
    OK(msg_decode(zmq_msg_data(&s->head), zmq_msg_size(&s->head), &s->m));
    CHECK(s->m.req == m->req);
    return s->m.type;
}
static inline void refused(const struct stranger *s, enum msg_error code, const char *words)
{
    char text[LIMIT_TEXT + 1] = "";
    memcpy(text, s->m.err.text.p, s->m.err.text.len);
    if (s->m.type != MSG_ERR || s->m.err.code != code || !strstr(text, words))
        T_FAIL("answer %s, code %d, \"%s\", expected %d \"%s\"", msg_name(s->m.type), s->m.err.code, text, code, words);
}
/* JOIN1 for the invite of a code. While that is not stretched yet the answer is BUSY, and costs nothing. */
static inline struct pake *ask_share(struct stranger *s, const char *code, const uint8_t prs[32])
{
    struct msg m = {.type = MSG_JOIN1, .req = 7, .join1 = {.proto_min = PROTO_MIN, .proto_max = PROTO_MAX}};
    code_hint(code, m.join1.hint);
    struct pake *p = pake_new(PAKE_JOINER, prs, s->pk, s->server, m.join1.share);
    while (ask(s, &m, NULL, 0) == MSG_ERR && s->m.err.code == MSGERR_BUSY)
        CHECK(s->m.err.retry_ms > 0);
    return p;
}
/* A whole exchange up to JOIN3 with this as the sealed content. */
static inline void prove(struct stranger *s, const char *code, const uint8_t prs[32], const void *card, size_t len)
{
    struct pake *p = ask_share(s, code, prs);
    AUTO(buf_release) struct buf box = BUF_INIT(LIMIT_BODY);
    CHECK(s->m.type == MSG_JOIN2);
    OK(pake_derive(p, s->m.join2.share));
    OK(pake_check(p, s->m.join2.tag));
    struct msg m = {.type = MSG_JOIN3, .req = 8};
    pake_tag(p, m.join3.tag);
    OK(pake_seal(p, &box, card, len));
    ask(s, &m, box.data, box.len);
    pake_free(&p);
}

#endif
