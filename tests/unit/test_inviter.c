/* Joining, both sides over real sockets. The inviting node runs in this process; what comes from outside runs in a child, as a
 * script that ends with success or with a failed CHECK: first joiner_run, then hand-made messages of somebody who does not keep
 * to the rules. The child is forked before any thread or socket exists. */
#include "node/inviter.h"

#include <errno.h>
#include <poll.h>
#include <sodium.h>
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

static void on_joined(void *arg, uint64_t number, const struct id *dev, const char *name)
{
    struct world *w = arg;
    const struct member *m = group_find(control_group(w->home->control), dev);
    w->joined += m && strcmp(m->card.name, name) == 0;
    w->joined_number = number;
    snprintf(w->joined_name, sizeof w->joined_name, "%s", name);
}
static void on_ended(void *arg, uint64_t number, const char *why)
{
    struct world *w = arg;
    w->ended++;
    w->ended_number = number;
    snprintf(w->why, sizeof w->why, "%s", why);
    ssize_t n = write(w->to_child, "E", 1);
    (void)n;
}
static void on_appended(void *arg) { ((struct world *)arg)->appended++; }
static void on_hint(void *arg, const char *hint)
{
    struct world *w = arg;
    snprintf(w->hint, sizeof w->hint, "%s", hint ? hint : "none");
}

static void on_join(void *arg, const struct net_from *from, const struct msg *m, zmq_msg_t *body)
{
    inviter_message(((struct world *)arg)->inviter, from, m, body);
}
static void on_request(void *arg, const struct net_from *from, const struct msg *m, zmq_msg_t *body)
{
    (void)arg, (void)from, (void)m, (void)body;
}

static struct inviter *new_inviter(struct world *w, const struct home *h)
{
    struct inviter *i;
    struct inviter_config c = {.loop = w->loop, .pool = w->pool, .net = w->net, .keys = h->keys, .group_keys = h->group_keys,
                               .control = h->control, .ops = {on_joined, on_ended, on_appended, on_hint, w}};
    OK(inviter_new(&c, &i));
    return i;
}

/* An owner's home in temp, and a child that waits for its info and then runs the script. Its exit code says how it went. */
static struct world begin(void (*script)(const struct info *info, int from_parent))
{
    struct world w = {0};
    int down[2], up[2];
    temp_begin();
    AUTO(device_keys_free) struct device_keys *keys = device_keys_new();
    AUTO(buf_release) struct buf card = BUF_INIT(1024);
    struct card c = {.dev = keys->dev, .created_ms = 1, .name = "owner"};
    memcpy(c.tr_pk, keys->tr_pk, sizeof c.tr_pk);
    OK(card_encode(&card, &c, keys));
    OK(home_create(in_temp("owner"), keys, &(struct bytes){card.data, card.len}, in_temp("owner-folder"), NULL));
    CHECK(pipe(down) == 0 && pipe(up) == 0);
    fflush(stdout);
    w.child = fork();
    CHECK(w.child >= 0);
    if (w.child == 0) {
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

static void start(struct world *w)
{
    OK(loop_new(&w->loop));
    OK(pool_new(w->loop, 2, &w->pool));
    struct net_config c = {.loop = w->loop, .keys = w->home->keys, .group_keys = w->home->group_keys, .listen = "127.0.0.1:0",
                           .group = control_group(w->home->control), .ops = {on_request, on_join, w}};
    OK(net_new(&c, &w->net));
    snprintf(w->info.at, sizeof w->info.at, "%s", net_address(w->net));
    w->inviter = new_inviter(w, w->home);
}

static void invite(struct world *w, int n, enum role role, uint64_t ttl_s)
{
    OK(inviter_invite(w->inviter, role, ttl_s, w->info.code[n], &w->number[n]));
    char hint[3];
    code_hint(w->info.code[n], hint);
    EQ_S(w->hint, hint);
}

static void on_child_end(void *arg) { loop_stop(((struct world *)arg)->loop); }

/* Runs the node until the script has ended. */
static void serve(struct world *w)
{
    CHECK(write(w->to_child, &w->info, sizeof w->info) == sizeof w->info);
    loop_add_fd(w->loop, w->from_child, POLLIN, on_child_end, w);
    OK(loop_run(w->loop));
    int status;
    CHECK(waitpid(w->child, &status, 0) == w->child);
    w->child = 0;
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void end(struct world *w)
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

static const struct group *group_of(const struct world *w) { return control_group(w->home->control); }

/* ---- the other side: as it should be ---- */

static int join(const struct info *info, const char *name, const char *code, const char *at)
{
    char home[300], folder[300];
    (void)info;
    snprintf(home, sizeof home, "%s/%s", temp, name);
    snprintf(folder, sizeof folder, "%s/%s-folder", temp, name);
    return joiner_run(&(struct joiner_request){.home = home, .folder = folder, .name = name, .code = code, .at = at});
}

static void script_join(const struct info *info, int from_parent)
{
    (void)from_parent;
    OK(join(info, "laptop", info->code[0], info->at));
    struct home *h;
    OK(home_open(in_temp("laptop"), &h));
    const struct group *g = control_group(h->control);
    const struct member *self = group_find(g, &h->keys->dev);
    CHECK(self && self->role == ROLE_MEMBER && g->nmember == 2);
    EQ_S(self->card.name, "laptop");
    EQ_S(g->member[0].card.name, "owner");
    home_close(&h, true);
    struct config c;
    OK(config_load(in_temp("laptop/config"), &c));
    EQ_S(c.peers, info->at);
    EQ_S(c.folder, in_temp("laptop-folder"));
    config_release(&c);
    CHECK(temp_has("laptop-folder/.lanyard/marker"));

    FAILS(join(info, "second", info->code[0], info->at), ERR_DENIED, "has been used already");
    FAILS(join(info, "laptop", info->code[0], info->at), ERR_EXISTS, "already holds a device");
    CHECK(!temp_has("second") && !temp_has("second-folder"));
}

static void test_join_and_join_again(void)
{
    struct world w = begin(script_join);
    start(&w);
    invite(&w, 0, ROLE_MEMBER, TTL_S);
    serve(&w);
    EQ_U(w.joined, 1);
    EQ_U(w.appended, 1);
    EQ_U(w.ended, 0);
    EQ_U(w.joined_number, w.number[0]);
    EQ_S(w.joined_name, "laptop");
    EQ_S(w.hint, "none");
    EQ_U(group_of(&w)->ctl_n, 1);
    struct home *h;
    OK(home_open(in_temp("laptop"), &h));
    EQ_MEM(h->group_keys, w.home->group_keys, sizeof *h->group_keys);
    uint8_t plain[40];                                     /* the keys in the log are sealed to the new device, and right */
    struct bytes blob;
    struct ctl c;
    struct ctl_op op;
    OK(control_record(h->control, 1, &blob));
    OK(ctl_decode(blob.p, blob.len, &c));
    struct mp ops = ctl_ops(&c);
    ctl_op_next(&ops, &op);
    OK(keys_unseal(plain, op.sealed.p, op.sealed.len, h->keys));
    EQ_MEM(plain, h->group_keys->k_epoch, 32);
    CHECK(plain[32] == h->group_keys->epoch && sodium_is_zero(plain + 33, 7));

    struct inviter *i = new_inviter(&w, h);                /* who may invite whom */
    char code[CODE_TEXT];
    uint64_t number;
    FAILS(inviter_invite(i, ROLE_MEMBER, 60, code, &number), ERR_DENIED, "only an owner or admin can invite: ask owner");
    FAILS(inviter_invite(w.inviter, ROLE_MEMBER, 0, code, &number), ERR_USAGE, "an invite can last");
    FAILS(inviter_invite(w.inviter, ROLE_MEMBER, INVITE_TTL_MAX_S + 1, code, &number), ERR_USAGE, "an invite can last");
    for (int n = 0; n < INVITES; n++)                      /* the used one makes room */
        OK(inviter_invite(w.inviter, ROLE_READER, 60, code, &number));
    FAILS(inviter_invite(w.inviter, ROLE_READER, 60, code, &number), ERR_FULL, "open already");
    inviter_free(&i);
    home_close(&h, true);
    end(&w);
}

static void other_code(const char *code, char out[CODE_TEXT], int same_hint)
{
    char want[3], hint[3];
    code_hint(code, want);
    do {
        code_generate(out);
        code_hint(out, hint);
    } while ((strcmp(want, hint) == 0) != same_hint || strcmp(code, out) == 0);
}

static void script_wrong(const struct info *info, int from_parent)
{
    (void)from_parent;
    char wrong[CODE_TEXT];
    other_code(info->code[0], wrong, 0);
    FAILS(join(info, "guest", wrong, info->at), ERR_DENIED, "no device here waits for this code");
    other_code(info->code[0], wrong, 1);
    FAILS(join(info, "guest", wrong, info->at), ERR_DENIED, "wrong code");
    CHECK(!temp_has("guest") && !temp_has("guest-folder"));
    OK(join(info, "guest", info->code[0], info->at));
    OK(join(info, "guest2", info->code[1], info->at));     /* two were open */
}

static void test_wrong_code(void)
{
    struct world w = begin(script_wrong);
    start(&w);
    invite(&w, 1, ROLE_ADMIN, TTL_S);
    invite(&w, 0, ROLE_MEMBER, TTL_S);
    serve(&w);
    EQ_U(w.joined, 2);
    EQ_U(group_of(&w)->nmember, 3);
    CHECK(group_by_name(group_of(&w), "guest")->role == ROLE_MEMBER && group_by_name(group_of(&w), "guest2")->role == ROLE_ADMIN);
    struct home *h;
    OK(home_open(in_temp("guest2"), &h));
    struct inviter *i = new_inviter(&w, h);
    char code[CODE_TEXT];
    uint64_t number;
    FAILS(inviter_invite(i, ROLE_OWNER, 60, code, &number), ERR_DENIED, "cannot make another one owner");
    inviter_free(&i);
    home_close(&h, true);
    end(&w);
}

static void script_nobody(const struct info *info, int from_parent)
{
    (void)from_parent;
    char code[CODE_TEXT];
    code_generate(code);
    FAILS(join(info, "guest", code, info->at), ERR_DENIED, "no invite is open");
    FAILS(join(info, "guest", code, "127.0.0.1:1"), ERR_TIMEOUT, "nobody answers at 127.0.0.1:1");
    FAILS(join(info, "guest", code, "127.0.0.1"), ERR_USAGE, "not HOST:PORT");
    CHECK(!temp_has("guest"));
}

static void test_no_invite(void)
{
    struct world w = begin(script_nobody);
    start(&w);
    serve(&w);
    EQ_U(group_of(&w)->ctl_n, 0);
    end(&w);
}

/* ---- the other side: as it likes ---- */

struct stranger { void *zmq, *socket; uint8_t pk[32], server[32]; struct msg m; zmq_msg_t head, body; };

static void stranger_open(struct stranger *s, const char *at)
{
    uint8_t sk[32];
    char ep[100];
    unsigned port;
    CHECK(sscanf(at, "127.0.0.1:%u", &port) == 1);
    snprintf(ep, sizeof ep, "tcp://127.0.0.1:%u", port + 2);
    keys_join_server(s->server, sk);
    crypto_box_keypair(s->pk, sk);
    int linger = 0;
    CHECK((s->zmq = zmq_ctx_new()) && (s->socket = zmq_socket(s->zmq, ZMQ_DEALER)));
    CHECK(zmq_setsockopt(s->socket, ZMQ_CURVE_SERVERKEY, s->server, 32) == 0 &&
          zmq_setsockopt(s->socket, ZMQ_CURVE_PUBLICKEY, s->pk, 32) == 0 &&
          zmq_setsockopt(s->socket, ZMQ_CURVE_SECRETKEY, sk, 32) == 0 &&
          zmq_setsockopt(s->socket, ZMQ_LINGER, &linger, sizeof linger) == 0 && zmq_connect(s->socket, ep) == 0);
    zmq_msg_init(&s->head);
    zmq_msg_init(&s->body);
}
static void stranger_close(struct stranger *s)
{
    zmq_msg_close(&s->head);
    zmq_msg_close(&s->body);
    zmq_close(s->socket);
    zmq_ctx_term(s->zmq);
}
/* Sends and waits for the answer in s->m. */
static enum msg_type ask(struct stranger *s, const struct msg *m, const void *body, size_t len)
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
static void refused(const struct stranger *s, enum msg_error code, const char *words)
{
    char text[LIMIT_TEXT + 1] = "";
    memcpy(text, s->m.err.text.p, s->m.err.text.len);
    if (s->m.type != MSG_ERR || s->m.err.code != code || !strstr(text, words))
        T_FAIL("answer %s, code %d, \"%s\", expected %d \"%s\"", msg_name(s->m.type), s->m.err.code, text, code, words);
}
/* JOIN1 for the invite of a code. While that is not stretched yet the answer is BUSY, and costs nothing. */
static struct pake *ask_share(struct stranger *s, const char *code, const uint8_t prs[32])
{
    struct msg m = {.type = MSG_JOIN1, .req = 7, .join1 = {.proto_min = PROTO_MIN, .proto_max = PROTO_MAX}};
    code_hint(code, m.join1.hint);
    struct pake *p = pake_new(PAKE_JOINER, prs, s->pk, s->server, m.join1.share);
    while (ask(s, &m, NULL, 0) == MSG_ERR && s->m.err.code == MSGERR_BUSY)
        CHECK(s->m.err.retry_ms > 0);
    return p;
}
/* A whole exchange up to JOIN3 with this as the sealed content. */
static void prove(struct stranger *s, const char *code, const uint8_t prs[32], const void *card, size_t len)
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

static void script_burn(const struct info *info, int from_parent)
{
    (void)from_parent;
    struct stranger s = {0};
    uint8_t guess[32];
    stranger_open(&s, info->at);
    for (int i = 0; i < INVITE_TRIES; i++) {
        randombytes_buf(guess, sizeof guess);
        struct pake *p = ask_share(&s, info->code[0], guess);
        CHECK(s.m.type == MSG_JOIN2);
        OK(pake_derive(p, s.m.join2.share));
        FAILS(pake_check(p, s.m.join2.tag), ERR_DENIED, "wrong code");
        pake_free(&p);
        struct msg m = {.type = MSG_JOIN3, .req = 9};       /* as if it had been right */
        if (i % 2) {
            ask(&s, &m, "x", 1);
            refused(&s, MSGERR_AUTH, "wrong code");
            ask(&s, &m, "x", 1);
            refused(&s, MSGERR_AUTH, "no exchange");
        }
    }
    struct pake *p = ask_share(&s, info->code[0], guess);
    refused(&s, MSGERR_AUTH, "tried too often");
    pake_free(&p);
    stranger_close(&s);
    FAILS(join(info, "late", info->code[0], info->at), ERR_DENIED, "tried too often");
    OK(join(info, "guest", info->code[1], info->at));      /* another invite is another chance */
}

static void test_five_tries_burn(void)
{
    struct world w = begin(script_burn);
    start(&w);
    invite(&w, 1, ROLE_MEMBER, TTL_S);
    invite(&w, 0, ROLE_MEMBER, TTL_S);
    serve(&w);
    EQ_U(w.joined, 1);
    EQ_S(w.joined_name, "guest");
    EQ_U(group_of(&w)->ctl_n, 1);
    end(&w);
}

static void script_expired(const struct info *info, int from_parent)
{
    char c;
    CHECK(read(from_parent, &c, 1) == 1 && c == 'E');
    FAILS(join(info, "late", info->code[0], info->at), ERR_DENIED, "expired");
    CHECK(read(from_parent, &c, 1) == 1 && c == 'E');
    FAILS(join(info, "late", info->code[1], info->at), ERR_DENIED, "no invite is open");   /* the last is over: closed */
}

static void test_expired(void)
{
    struct world w = begin(script_expired);
    start(&w);
    invite(&w, 1, ROLE_MEMBER, 4);
    invite(&w, 0, ROLE_MEMBER, 1);
    serve(&w);
    EQ_U(w.joined, 0);
    EQ_U(w.ended, 2);
    EQ_U(w.ended_number, w.number[1]);
    CHECK(strstr(w.why, "expired"));
    EQ_S(w.hint, "none");
    EQ_U(group_of(&w)->ctl_n, 0);
    end(&w);
}

static void script_malformed(const struct info *info, int from_parent)
{
    (void)from_parent;
    struct stranger s = {0};
    uint8_t prs[32], big[5000] = {0};
    OK(code_stretch(info->code[0], prs));
    stranger_open(&s, info->at);
    struct msg m = {.type = MSG_JOIN3, .req = 1};
    ask(&s, &m, "x", 1);
    refused(&s, MSGERR_AUTH, "no exchange");
    m = (struct msg){.type = MSG_JOIN2, .req = 2};
    ask(&s, &m, NULL, 0);
    refused(&s, MSGERR_PROTO, "not a message for this socket");
    m = (struct msg){.type = MSG_GET_CTL, .req = 3, .get_ctl.from = 1};
    ask(&s, &m, NULL, 0);
    refused(&s, MSGERR_PROTO, "not a message for this socket");
    m = (struct msg){.type = MSG_JOIN1, .req = 4, .join1 = {.proto_min = PROTO_MAX + 1, .proto_max = PROTO_MAX + 9, .hint = "00"}};
    ask(&s, &m, NULL, 0);
    refused(&s, MSGERR_PROTO, "protocol version");

    struct pake *p = ask_share(&s, info->code[0], prs);     /* try 1, left alone */
    CHECK(s.m.type == MSG_JOIN2);
    pake_free(&p);
    m = (struct msg){.type = MSG_JOIN1, .req = 5, .join1 = {.proto_min = 1, .proto_max = 1}};   /* try 2: no group element */
    code_hint(info->code[0], m.join1.hint);
    memset(m.join1.share, 0xff, 32);
    ask(&s, &m, NULL, 0);
    refused(&s, MSGERR_PROTO, "not a valid group element");
    m = (struct msg){.type = MSG_JOIN3, .req = 6};          /* the new try has ended the one before */
    ask(&s, &m, "x", 1);
    refused(&s, MSGERR_AUTH, "no exchange");
    prove(&s, info->code[0], prs, "no card", 7);            /* try 3 */
    refused(&s, MSGERR_AUTH, "");
    prove(&s, info->code[0], prs, big, sizeof big);         /* try 4 */
    refused(&s, MSGERR_AUTH, "no room");
    m = (struct msg){.type = MSG_JOIN3, .req = 6};
    ask(&s, &m, "x", 1);
    refused(&s, MSGERR_AUTH, "no exchange");
    stranger_close(&s);
    OK(join(info, "guest", info->code[0], info->at));       /* try 5 */
}

static void test_malformed(void)
{
    struct world w = begin(script_malformed);
    start(&w);
    invite(&w, 0, ROLE_MEMBER, TTL_S);
    serve(&w);
    EQ_U(w.joined, 1);
    EQ_U(group_of(&w)->ctl_n, 1);
    end(&w);
}

/* A body that does not open under the agreed key, behind a right tag; and a card whose device is a member already. */
static void script_bad_card(const struct info *info, int from_parent)
{
    (void)from_parent;
    OK(join(info, "guest", info->code[0], info->at));
    struct home *h;
    OK(home_open(in_temp("guest"), &h));
    struct stranger s = {0};
    uint8_t prs[32];
    OK(code_stretch(info->code[1], prs));
    stranger_open(&s, info->at);
    prove(&s, info->code[1], prs, h->card.data, h->card.len);
    refused(&s, MSGERR_AUTH, "");
    struct pake *p = ask_share(&s, info->code[1], prs);
    OK(pake_derive(p, s.m.join2.share));
    OK(pake_check(p, s.m.join2.tag));
    struct msg m = {.type = MSG_JOIN3, .req = 8};
    pake_tag(p, m.join3.tag);
    uint8_t rubbish[200];
    randombytes_buf(rubbish, sizeof rubbish);
    ask(&s, &m, rubbish, sizeof rubbish);
    refused(&s, MSGERR_AUTH, "not what the other side sent");
    pake_free(&p);
    stranger_close(&s);
    home_close(&h, true);
    OK(join(info, "another", info->code[1], info->at));
}

static void test_bad_card(void)
{
    struct world w = begin(script_bad_card);
    start(&w);
    invite(&w, 0, ROLE_MEMBER, TTL_S);
    invite(&w, 1, ROLE_MEMBER, TTL_S);
    serve(&w);
    EQ_U(w.joined, 2);
    EQ_U(group_of(&w)->ctl_n, 2);
    end(&w);
}

/* ---- a man in the middle ---- */

/* Everybody knows the join server's key, so anybody can answer in its place; but then the two CURVE connections have different
 * client keys, and that is in the transcript. */
static void relay(struct world *w, void *from, void *to, int routed)
{
    zmq_msg_t head, body, route;
    bool has_body;
    zmq_msg_init(&head), zmq_msg_init(&body), zmq_msg_init(&route);
    while (net_receive(from, routed ? &route : NULL, &head, &body, &has_body) == 1) {
        w->mitm.relayed++;
        if (routed) {
            w->mitm.routelen = (int)zmq_msg_size(&route);
            memcpy(w->mitm.route, zmq_msg_data(&route), zmq_msg_size(&route));
        } else {
            zmq_send(to, w->mitm.route, (size_t)w->mitm.routelen, ZMQ_SNDMORE);
        }
        zmq_msg_send(&head, to, has_body ? ZMQ_SNDMORE : 0);
        if (has_body)
            zmq_msg_send(&body, to, 0);
    }
    zmq_msg_close(&head), zmq_msg_close(&body), zmq_msg_close(&route);
}
static void on_front(void *arg) { relay(arg, ((struct world *)arg)->mitm.front, ((struct world *)arg)->mitm.back, 1); }
static void on_back(void *arg) { relay(arg, ((struct world *)arg)->mitm.back, ((struct world *)arg)->mitm.front, 0); }

static void start_mitm(struct world *w)
{
    uint8_t pk[32], sk[32], own_pk[32], own_sk[32];
    int one = 1;
    char ep[100];
    size_t len = sizeof ep;
    keys_join_server(pk, sk);
    crypto_box_keypair(own_pk, own_sk);
    CHECK((w->mitm.front = zmq_socket(net_context(w->net), ZMQ_ROUTER)) && (w->mitm.back = zmq_socket(net_context(w->net), ZMQ_DEALER)));
    OK(net_socket_common(w->mitm.front));
    OK(net_socket_common(w->mitm.back));
    CHECK(zmq_setsockopt(w->mitm.front, ZMQ_CURVE_SERVER, &one, sizeof one) == 0 &&
          zmq_setsockopt(w->mitm.front, 93, &one, sizeof one) == 0 &&      /* without a domain: the net's ZAP handler is not asked */
          zmq_setsockopt(w->mitm.front, ZMQ_CURVE_SECRETKEY, sk, 32) == 0 && zmq_bind(w->mitm.front, "tcp://127.0.0.1:*") == 0 &&
          zmq_getsockopt(w->mitm.front, ZMQ_LAST_ENDPOINT, ep, &len) == 0);
    snprintf(w->info.mitm, sizeof w->info.mitm, "127.0.0.1:%d", atoi(strrchr(ep, ':') + 1) - 2);
    snprintf(ep, sizeof ep, "tcp://127.0.0.1:%u", net_port(w->net) + 2u);
    CHECK(zmq_setsockopt(w->mitm.back, ZMQ_CURVE_SERVERKEY, pk, 32) == 0 &&
          zmq_setsockopt(w->mitm.back, ZMQ_CURVE_PUBLICKEY, own_pk, 32) == 0 &&
          zmq_setsockopt(w->mitm.back, ZMQ_CURVE_SECRETKEY, own_sk, 32) == 0 && zmq_connect(w->mitm.back, ep) == 0);
    loop_add_socket(w->loop, w->mitm.front, on_front, w);
    loop_add_socket(w->loop, w->mitm.back, on_back, w);
}

static void script_mitm(const struct info *info, int from_parent)
{
    (void)from_parent;
    FAILS(join(info, "guest", info->code[0], info->mitm), ERR_DENIED, "somebody between the devices");
    CHECK(!temp_has("guest"));
    OK(join(info, "guest", info->code[0], info->at));
}

static void test_man_in_the_middle(void)
{
    struct world w = begin(script_mitm);
    start(&w);
    invite(&w, 0, ROLE_MEMBER, TTL_S);
    start_mitm(&w);
    serve(&w);
    CHECK(w.mitm.relayed >= 2);                            /* it did stand between them */
    EQ_U(w.joined, 1);
    EQ_U(group_of(&w)->ctl_n, 1);
    end(&w);
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    log_set_level(LOG_ERROR);
    RUN(test_join_and_join_again);
    RUN(test_wrong_code);
    RUN(test_no_invite);
    RUN(test_five_tries_burn);
    RUN(test_expired);
    RUN(test_malformed);
    RUN(test_bad_card);
    RUN(test_man_in_the_middle);
    temp_end();
    return t_done();
}
