/* t_link: nodes that are nothing but a net, in one loop, and answer greetings and pings: honestly, or not. */
#ifndef TESTS_UNIT_T_LINK_H
#define TESTS_UNIT_T_LINK_H

#include "node/link.h"
#include "tests/unit/t_node.h"

enum answer { HONEST, MUTE, POSES, FOR_ANOTHER, REPLAY, REFUSES, OTHER_GROUP, NEWER_ONLY, NEWER_TOO };
struct side {
    size_t device;
    struct net *net;
    enum answer answer;
    unsigned hellos, pings;
    struct net_from from; uint64_t req;        /* of the last request */
    struct msg_hello recorded;                 /* the last honest answer */
    char address[80];
};
static struct t_group g;
static struct loop *loop;
static struct side side[T_DEVICES];
static void (*heard)(size_t device, const struct net_from *from, const struct msg_hello *h);   /* a greeting has come in */

static inline struct hello_party party_of(size_t device, const uint8_t nonce[32])
{
    struct hello_party p = { .dev = g.dev[device]->dev };
    memcpy(p.tr_pk, g.dev[device]->tr_pk, 32);
    memcpy(p.nonce, nonce, 32);
    return p;
}
static inline void say_hello(size_t device, struct msg_hello *h)
{
    *h = (struct msg_hello){ .group = g.group.id, .dev = g.dev[device]->dev, .proto_min = 1, .proto_max = 1, .wall_ms = loop_wall(),
                             .ctl_n = g.group.ctl_n, .ctl_hash = g.group.ctl_hash, .port = net_port(side[device].net) };
    memset(h->inst, (int)device + 1, sizeof h->inst);
}
static inline size_t device_of(const struct id *dev)
{
    for (size_t i = 0; i < T_DEVICES; i++)
        if (id_eq(&g.dev[i]->dev, dev))
            return i;
    T_FAIL("unknown device");
}

static inline void answer_hello(struct side *s, const struct net_from *from, const struct msg *m)
{
    struct msg r = { .type = MSG_HELLO_OK, .req = m->req };
    size_t caller = device_of(&from->who), signer = s->answer == POSES ? 2 : s->device;
    say_hello(s->device, &r.hello);
    memset(r.hello.nonce, 5, 32);
    if (s->answer == OTHER_GROUP)
        r.hello.group.b[0] ^= 1;
    if (s->answer == NEWER_ONLY || s->answer == NEWER_TOO) {
        r.hello.proto_min = s->answer == NEWER_ONLY ? PROTO_MAX + 1 : 1;
        r.hello.proto_max = PROTO_MAX + 5;
    }
    struct hello_party self = party_of(s->device, r.hello.nonce);
    struct hello_party other = party_of(s->answer == FOR_ANOTHER ? 2 : caller, m->hello.nonce);
    hello_sign(r.hello.sig, &r.hello.group, &self, &other, g.dev[signer]);
    if (s->answer == REPLAY)
        r.hello = s->recorded;
    s->recorded = r.hello;
    if (s->answer == REFUSES)
        r = (struct msg){ .type = MSG_ERR, .req = m->req, .err = { .code = MSGERR_AUTH } };
    net_reply(s->net, from, &r, NULL);
}
enum { T_PUBLISHED = 77 };        /* the vector that a side says it has published last */

static inline void on_request(void *arg, const struct net_from *from, const struct msg *m, zmq_msg_t *body)
{
    struct side *s = arg;
    (void)body;
    s->from = *from;
    s->req = m->req;
    s->hellos += m->type == MSG_HELLO;
    s->pings += m->type == MSG_PING;
    if (m->type == MSG_HELLO && heard)
        heard(s->device, from, &m->hello);
    if (s->answer == MUTE)
        return;
    if (m->type == MSG_HELLO)
        answer_hello(s, from, m);
    else
        net_reply(s->net, from, &(struct msg){ .type = MSG_PONG, .req = m->req, .ping.ctr = T_PUBLISHED }, NULL);
}
static inline void side_start(size_t i, const char *listen)
{
    struct net_config c = { .loop = loop, .keys = g.dev[i], .group_keys = g.keys, .group = &g.group, .listen = listen,
                            .ops = { .request = on_request, .join = on_request, .arg = &side[i] } };
    side[i].device = i;
    t_must(net_new(&c, &side[i].net));
    snprintf(side[i].address, sizeof side[i].address, "%s", net_address(side[i].net));
}
static inline void sides_end(void)
{
    for (size_t i = 0; i < T_DEVICES; i++)
        net_free(&side[i].net);
    memset(side, 0, sizeof side);
    heard = NULL;
    loop_free(&loop);
    if (g.keys)
        t_group_release(&g);
    g = (struct t_group){ 0 };
}
/* n nodes; 0..2 are members, 3 is not. */
static inline void sides_begin(size_t n)
{
    t_group_init(&g, 3);
    t_must(loop_new(&loop));
    for (size_t i = 0; i < n; i++)
        side_start(i, "127.0.0.1:0");
}
#endif
