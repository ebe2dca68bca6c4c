/* The control log of a running node: asked for, handed out, written, and what follows from a change of who belongs to the group. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/log.h"
#include "node/node_priv.h"

#define REQUEST_MS 20000
#define LAST_WORD_MS 2000

static const struct group *group_of(const struct node *n) { return control_group(n->home->control); }

/* ---- this device's own place ---- */

/* Why this device does not belong to the group; false when it does. */
static bool left_out(const struct node *n, char *why, size_t size)
{
    const struct group *g = group_of(n);
    const struct member *m = group_find(g, &n->home->keys->dev);
    if (m && !m->revoked)
        return false;
    const struct member *by = m ? group_find(g, &m->revoked_by) : NULL;
    snprintf(why, size, "this device was revoked by %s: its files stay; to come back, remove its home and join with a new invite",
             by ? by->card.name : "an admin");
    return true;
}

void control_look_at_self(struct node *n)
{
    char why[sizeof n->revoked_error];
    bool out = left_out(n, why, sizeof why);
    node_set_error(n, n->revoked_error, sizeof n->revoked_error, out ? why : NULL);
}

/* Whoever holds the group's key can say so: it counts while nobody else is there, and proves nothing. */
static void shut_out(struct node *n, const struct link *l)
{
    char why[sizeof n->revoked_error];
    if (left_out(n, why, sizeof why) || peers_online(n->peers) > 0)
        return;
    snprintf(why, sizeof why, "the device at %s refuses this one as revoked: ask an admin", link_address(l));
    node_set_error(n, n->revoked_error, sizeof n->revoked_error, why);
}

/* ---- whoever belongs to it no more ---- */

static void on_told(void *arg, const struct msg *m, zmq_msg_t *body)
{
    (void)m, (void)body;
    link_kill(arg, "a revoked device, and it has been told");
}

/* The newest records, as many as a request may carry: they prove to a device that it was revoked, which may ask nobody any more. */
static bool last_word(void *arg, struct link *l)
{
    struct node *n = arg;
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_HEAD);
    struct bytes blob;
    uint64_t from = group_of(n)->ctl_n + 1, end = from;
    size_t len = 5;                      /* the longest header of a list */
    while (from > 1 && control_record(n->home->control, from - 1, &blob) == 0 && len + blob.len <= LIMIT_HEAD) {
        len += blob.len;
        from--;
    }
    mp_put_array(&body, end - from);
    for (uint64_t i = from; i < end && control_record(n->home->control, i, &blob) == 0; i++)
        buf_add(&body, blob.p, blob.len);
    link_request_body(l, LANE_CONTROL, &(struct msg){.type = MSG_CTL}, &body, LAST_WORD_MS, on_told, l);
    return true;
}

void control_revoked(struct node *n, struct link *l, bool self)
{
    if (self)
        shut_out(n, l);
    else
        last_word(n, l);
}

/* ---- what follows from a change ---- */

/* How it was before. */
struct before { struct id hash; enum role role; struct card *in; size_t nin; };

static void look_before(const struct node *n, struct before *b)
{
    const struct group *g = group_of(n);
    const struct member *self = group_find(g, &n->home->keys->dev);
    *b = (struct before){.hash = g->ctl_hash, .role = self ? self->role : ROLE_READER, .in = xcalloc(g->nmember, sizeof *b->in)};
    for (size_t i = 0; i < g->nmember; i++)
        if (!g->member[i].revoked)
            b->in[b->nin++] = g->member[i].card;
}

/* Whether one who could connect to us may not any more. */
static bool somebody_left(const struct node *n, const struct before *b)
{
    for (size_t i = 0; i < b->nin; i++) {
        const struct member *m = group_by_transport(group_of(n), b->in[i].tr_pk);
        if (!m || m->revoked)
            return true;
    }
    return false;
}

static void follow(struct node *n, struct before *b)
{
    const struct group *g = group_of(n);
    const struct member *self = group_find(g, &n->home->keys->dev);
    bool changed = !id_eq(&g->ctl_hash, &b->hash);
    if (changed) {
        log_info("control log has grown records=%llu", (unsigned long long)g->ctl_n);
        if (somebody_left(n, b)) {
            peers_expel(n->peers, last_word, n);
            net_shake_off(n->net);
        }
        control_look_at_self(n);
        if (n->scan && self && self->role != b->role)
            scan_all(n->scan);           /* who may write now has not recorded what changed here before */
        greet_retry(n);
        greet_pex_ask_all(n);
        node_event(n, "members-changed", NULL);
        node_committed(n);
    }
    free(b->in);
}

int control_issue(struct node *n, const struct ctl_op *op, size_t nop)
{
    const struct group *g = group_of(n);
    const struct device_keys *k = n->home->keys;
    struct before b;
    AUTO(buf_release) struct buf record = BUF_INIT(LIMIT_CTL_BYTES);
    struct ctl c = {.group = g->id, .prev = g->ctl_hash, .signer = k->dev, .n = g->ctl_n + 1, .ts_ms = loop_wall()};
    int r = ctl_encode(&record, &c, op, nop, k);
    if (r < 0)
        return r;
    look_before(n, &b);
    r = control_append(n->home->control, record.data, record.len);
    follow(n, &b);
    return r;
}

/* ---- asking ---- */

struct ctl_request { struct node *n; struct link *link; bool stranger; struct ctl_request *next; };

static int take_records(struct node *n, zmq_msg_t *body)
{
    int r = mp_check(zmq_msg_data(body), zmq_msg_size(body));
    if (r < 0)
        return r;
    struct mp m = mp_reader(zmq_msg_data(body), zmq_msg_size(body));
    uint32_t count = mp_array(&m, LIMIT_OBJECTS);
    for (uint32_t i = 0; r == 0 && i < count; i++) {
        struct bytes blob = mp_skip(&m);
        r = control_append(n->home->control, blob.p, blob.len);
        if (r == ERR_EXISTS)
            r = 0;
    }
    return r < 0 ? r : mp_done(&m, "control records");
}

static int take(struct node *n, zmq_msg_t *body)
{
    struct before b;
    look_before(n, &b);
    int r = take_records(n, body);
    if (r < 0)
        log_seldom(LOG_WARN, "control records refused why=\"%s\"", err_text());
    follow(n, &b);
    return r;
}

static void on_ctl(void *arg, const struct msg *m, zmq_msg_t *body)
{
    struct ctl_request *q = arg;
    struct node *n = q->n;
    for (struct ctl_request **p = &n->ctl_requests; *p; p = &(*p)->next)
        if (*p == q) {
            *p = q->next;
            break;
        }
    if (m && m->type == MSG_CTL)
        (void)take(n, body);
    if (q->stranger && link_state(q->link) != LINK_DEAD)
        link_kill(q->link, "its membership has been looked up");
    free(q);
}

void control_ask(struct node *n, struct link *l, bool stranger)
{
    for (const struct ctl_request *p = n->ctl_requests; p; p = p->next)
        if (p->link == l)
            return;                      /* it has been asked and has not answered yet */
    struct ctl_request *q = xcalloc(1, sizeof *q);
    *q = (struct ctl_request){.n = n, .link = l, .stranger = stranger, .next = n->ctl_requests};
    n->ctl_requests = q;
    struct msg m = {.type = MSG_GET_CTL, .get_ctl = {.from = group_of(n)->ctl_n + 1}};
    link_request(l, LANE_CONTROL, &m, REQUEST_MS, on_ctl, q);
}

/* ---- handing out ---- */

void control_serve(struct node *n, const struct net_from *from, const struct msg *m)
{
    AUTO(buf_release) struct buf list = BUF_INIT(LIMIT_BODY), body = BUF_INIT(LIMIT_BODY);
    uint32_t count = 0;
    struct bytes blob;
    for (uint64_t i = m->get_ctl.from; control_record(n->home->control, i, &blob) == 0 && list.len + blob.len < LIMIT_CS_REPLY; i++) {
        buf_add(&list, blob.p, blob.len);
        count++;
    }
    mp_put_array(&body, count);
    buf_add(&body, list.data, list.len);
    zmq_msg_t z;
    size_t len;
    uint8_t *data = buf_steal(&body, &len);
    net_body_take(&z, data, len);
    net_reply(n->net, from, &(struct msg){.type = MSG_CTL, .req = m->req}, &z);
}

void control_told(struct node *n, const struct net_from *from, const struct msg *m, zmq_msg_t *body)
{
    net_reply(n->net, from, &(struct msg){.type = MSG_PONG, .req = m->req, .ping = {.wall_ms = loop_wall()}}, NULL);
    (void)take(n, body);
}
