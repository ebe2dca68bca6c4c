/* What a node sends: replies and vectors. */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "node/log.h"
#include "node/net_priv.h"

static void release(void *data, void *hint)
{
    (void)hint;
    free(data);
}

void net_body_take(zmq_msg_t *body, void *data, size_t len)
{
    int r = zmq_msg_init_data(body, data, len, release, NULL);
    assert(r == 0);
}

void net_body_of(zmq_msg_t *body, struct buf *from)
{
    size_t len;
    uint8_t *data = buf_steal(from, &len);
    net_body_take(body, data, len);
}

/* libzmq counts messages, and for each connection. What must be bounded is bytes, and for each device. */
struct parcel { zmq_msg_t body; struct debt *debt; };

static struct debt *debt_of(struct net *n, const struct id *who)
{
    for (size_t i = 0; i < n->ndebt; i++)
        if (id_eq(&n->debt[i]->who, who))
            return n->debt[i];
    struct debt *d = xcalloc(1, sizeof *d);
    d->who = *who;
    d->all = &n->debts;
    n->debt = xrealloc(n->debt, n->ndebt + 1, sizeof *n->debt);
    n->debt[n->ndebt++] = d;
    return d;
}

size_t net_waiting(struct net *n, const struct id *who) { return debt_of(n, who)->bytes; }
size_t net_waiting_all(const struct net *n) { return n->debts.bytes; }

void net_when_sent(struct net *n, loop_fn fn, void *arg)
{
    n->debts.fn = fn;
    n->debts.arg = arg;
    n->debts.tell = fn != NULL;
}

static void paid(void *data, void *hint)
{
    (void)data;
    struct parcel *p = hint;
    struct debts *all = p->debt->all;
    p->debt->bytes -= zmq_msg_size(&p->body);
    all->bytes -= zmq_msg_size(&p->body);
    zmq_msg_close(&p->body);
    free(p);
    if (atomic_exchange(&all->tell, false)) {
        ssize_t r = write(all->fd, &(uint64_t){1}, sizeof(uint64_t));
        (void)r;                         /* it fails only when the counter is full, and then the loop is awake */
    }
}

static void on_paid(void *arg)
{
    struct debts *all = &((struct net *)arg)->debts;
    uint64_t n;
    loop_fn fn = all->fn;
    if (read(all->fd, &n, sizeof n) != sizeof n || !fn)
        return;
    all->fn = NULL;
    fn(all->arg);
}

int net_send_start(struct net *n)
{
    n->debts.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (n->debts.fd < 0)
        return err_set(ERR_IO, "network: eventfd: %m");
    loop_add_fd(n->c.loop, n->debts.fd, POLLIN, on_paid, n);
    return 0;
}

/* Puts the body into a parcel that is counted until it has been sent. */
static void pack(struct debt *d, zmq_msg_t *body)
{
    struct parcel *p = xcalloc(1, sizeof *p);
    p->debt = d;
    zmq_msg_init(&p->body);
    zmq_msg_move(&p->body, body);
    d->bytes += zmq_msg_size(&p->body);
    d->all->bytes += zmq_msg_size(&p->body);
    int r = zmq_msg_init_data(body, zmq_msg_data(&p->body), zmq_msg_size(&p->body), paid, p);
    assert(r == 0);
}

static void send_to(struct net *n, void *socket, const struct net_from *to, const struct msg *m, zmq_msg_t *body)
{
    AUTO(buf_release) struct buf head = BUF_INIT(LIMIT_HEAD);
    int r = msg_encode(&head, m);
    assert(r == 0);
    bool ok = loop_send(n->c.loop, socket, to->route, to->routelen, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0;
    if (!ok)
        log_seldom(LOG_INFO, "reply dropped type=%s why=\"%s\"", msg_name(m->type), zmq_strerror(errno));
    if (ok)
        ok = loop_send(n->c.loop, socket, head.data, head.len, (body ? ZMQ_SNDMORE : 0) | ZMQ_DONTWAIT) >= 0;
    if (ok && body && loop_send_msg(n->c.loop, socket, body, ZMQ_DONTWAIT) >= 0)
        return;
    if (body)
        zmq_msg_close(body);
}

void net_reply(struct net *n, const struct net_from *to, const struct msg *m, zmq_msg_t *body)
{
    if (!n->router) {
        if (body)
            zmq_msg_close(body);
        return;
    }
    if (body && debt_of(n, &to->who)->bytes + zmq_msg_size(body) > NET_WAITING_MAX) {
        log_seldom(LOG_WARN, "reply dropped type=%s why=\"%u MiB wait for this device already\"", msg_name(m->type), NET_WAITING_MAX >> 20);
        zmq_msg_close(body);
        return;
    }
    if (body)
        pack(debt_of(n, &to->who), body);
    send_to(n, n->router, to, m, body);
}

void net_reply_join(struct net *n, const struct net_from *to, const struct msg *m, zmq_msg_t *body)
{
    if (n->join)
        send_to(n, n->join, to, m, body);
    else if (body)
        zmq_msg_close(body);
}

void net_topic(const struct net *n, uint8_t topic[static NET_TOPIC])
{
    memcpy(topic, "v1", 2);
    keys_topic(n->c.group_keys, topic + 2);
}

void net_publish(struct net *n, const void *blob, size_t len)
{
    uint8_t topic[NET_TOPIC];
    net_topic(n, topic);
    if (n->pub && loop_send(n->c.loop, n->pub, topic, sizeof topic, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0 &&
        loop_send(n->c.loop, n->pub, blob, len, ZMQ_DONTWAIT) < 0)
        log_seldom(LOG_WARN, "vector not sent why=\"%s\"", zmq_strerror(errno));
}

/* The context has ended: nothing waits any more. */
void net_send_release(struct net *n)
{
    if (n->debts.fd >= 0) {
        loop_del_fd(n->c.loop, n->debts.fd);
        close(n->debts.fd);
    }
    for (size_t i = 0; i < n->ndebt; i++)
        free(n->debt[i]);
    free(n->debt);
}
