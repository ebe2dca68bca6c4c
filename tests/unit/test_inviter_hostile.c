/* Joining with somebody who does not keep to the rules, at the socket or between the devices. */
#include "tests/unit/t_join.h"

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
    CHECK(log_set_level_by_name("error") == 0);
    RUN(test_malformed);
    RUN(test_bad_card);
    RUN(test_man_in_the_middle);
    temp_end();
    return t_done();
}
