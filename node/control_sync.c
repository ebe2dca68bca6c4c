/* The control log of a running node: asked for, handed out, written, and what follows from a change of who belongs to the group. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/chain.h"
#include "node/far.h"
#include "node/lock.h"
#include "node/log.h"
#include "node/lost.h"
#include "node/node_priv.h"
#include "proto/policy.h"

#define REQUEST_MS 20000
#define TELL_MS 2000
#define FALSE_MS 60000
#define OVERLAP 8

/* ---- this device's own place ---- */

/* Why this device does not belong to the group; false when it does. */
static bool left_out(const struct node *n, char *why, size_t size)
{
    const struct group *g = node_group(n);
    const struct member *m = group_find(g, &n->home->keys->dev);
    if (m && !m->revoked)
        return false;
    const struct member *by = m ? group_find(g, &m->revoked_by) : NULL;
    static const char remedy[] = "its files stay; to come back, remove its home and join with a new invite";
    if (m)
        snprintf(why, size, "this device was revoked by %s: %s", by ? by->card.name : "an admin", remedy);
    else
        snprintf(why, size, "the invite of this device lost against what others did at the same time: %s", remedy);
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

static void on_answer(void *arg, const struct msg *m, zmq_msg_t *body) { (void)arg, (void)m, (void)body; }

static void on_told(void *arg, const struct msg *m, zmq_msg_t *body)
{
    (void)m, (void)body;
    link_kill(arg, "a revoked device, and it has been told");
}

/* The newest records, as many as a request may carry. */
static void tell(struct node *n, struct link *l, link_reply_fn answered, void *arg)
{
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_HEAD);
    struct bytes blob;
    uint64_t from = node_group(n)->ctl_n + 1, end = from;
    size_t len = 5;                      /* the longest header of a list */
    while (from > 1 && control_record(n->home->control, from - 1, &blob) == 0 && len + blob.len <= LIMIT_HEAD) {
        len += blob.len;
        from--;
    }
    mp_put_array(&body, end - from);
    for (uint64_t i = from; i < end && control_record(n->home->control, i, &blob) == 0; i++)
        buf_add(&body, blob.p, blob.len);
    link_request_body(l, LANE_CONTROL, &(struct msg){.type = MSG_CTL}, &body, TELL_MS, answered, arg);
}

/* They prove to a device that it was revoked, which may ask nobody any more. */
static bool last_word(void *arg, struct link *l)
{
    tell(arg, l, on_told, l);
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
struct before { struct id hash, policies; enum role role; struct card *in; size_t nin; };

static void look_before(const struct node *n, struct before *b)
{
    const struct group *g = node_group(n);
    const struct member *self = group_find(g, &n->home->keys->dev);
    *b = (struct before){.hash = g->ctl_hash, .policies = group_policies_id(g), .role = self ? self->role : ROLE_READER, .in = xcalloc(g->nmember, sizeof *b->in)};
    for (size_t i = 0; i < g->nmember; i++)
        if (!g->member[i].revoked)
            b->in[b->nin++] = g->member[i].card;
}

/* Whether one who could connect to us may not any more. */
static bool somebody_left(const struct node *n, const struct before *b)
{
    for (size_t i = 0; i < b->nin; i++) {
        const struct member *m = group_by_transport(node_group(n), b->in[i].tr_pk);
        if (!m || m->revoked)
            return true;
    }
    return false;
}

static bool somebody_came(const struct node *n, const struct before *b)
{
    const struct group *g = node_group(n);
    size_t now = 0;
    for (size_t i = 0; i < g->nmember; i++)
        now += !g->member[i].revoked;
    return now > b->nin;
}

void control_cuts(struct node *n)
{
    int r = engine_begin(n->engine), streams = 0;
    if (r == 0)
        r = streams = engine_cuts(n->engine, loop_wall());
    if (r >= 0)
        r = engine_commit(n->engine, loop_wall());
    else if (index_in_tx(n->index))
        engine_rollback(n->engine);
    n->cuts_due = r < 0;
    if (r < 0)
        log_seldom(LOG_WARN, "what a device wrote that may write no more is not withdrawn yet why=\"%s\"", err_text());
    else if (streams)
        log_info("what counts of the streams of devices that may write no more is another part now streams=%d", streams);
    if (streams > 0)
        node_committed(n);
}

static void follow(struct node *n, struct before *b)
{
    const struct group *g = node_group(n);
    const struct member *self = group_find(g, &n->home->keys->dev);
    bool changed = !id_eq(&g->ctl_hash, &b->hash);
    if (changed) {
        log_info("control log has grown records=%llu", (unsigned long long)g->ctl_n);
        bool left = somebody_left(n, b);
        if (left) {
            peers_expel(n->peers, last_word, n);
            net_shake_off(n->net);
        }
        control_look_at_self(n);
        far_members(n);
        control_cuts(n);
        lock_now(n);
        struct id policies = group_policies_id(g);
        if (n->scan && ((self && self->role != b->role) || !id_eq(&b->policies, &policies)))
            scan_all(n->scan);           /* who may write now has not recorded what changed here before; rules and sizes may be others */
        greet_retry(n);
        if (left || somebody_came(n, b))
            greet_pex_ask_all(n);
        node_event(n, "members-changed", NULL);
        node_committed(n);
        control_open_key(n);
        control_renew_key(n);
    }
    free(b->in);
}

int control_issue(struct node *n, const struct ctl_op *op, size_t nop) { return control_issue_as(n, n->home->keys, op, nop); }

int control_issue_as(struct node *n, const struct device_keys *k, const struct ctl_op *op, size_t nop)
{
    const struct group *g = node_group(n);
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

/* ---- what has lost ---- */

static void describe(const struct group *g, const struct ctl_op *op, struct buf *out)
{
    static const char *const verbs[] = {
        [OP_ADD] = "add", [OP_REVOKE] = "revoke", [OP_ROLE] = "change the role of", [OP_EPOCH] = "renew the keys", [OP_REQUIRE] = "require a version",
        [OP_CANCEL] = "cancel a required version", [OP_DORMANT] = "call dormant", [OP_RELAY] = "add a relay", [OP_POLICY] = "change the policy",
        [OP_NAME] = "rename", [OP_RECOVERY] = "name a recovery key",
    };
    struct card card;
    char hex[ID_HEX];
    const struct member *m = group_find(g, &op->dev);
    bool add = op->type == OP_ADD && card_decode(op->card.p, op->card.len, &card) == 0;
    buf_addf(out, "%s", verbs[op->type]);
    if (add || !id_is_none(&op->dev))
        buf_addf(out, " %s", add ? card.name : m ? m->card.name : id_hex(&op->dev, hex));
    if (op->type == OP_ADD || op->type == OP_ROLE)
        buf_addf(out, " as %s", role_name(op->role));
    if (op->type == OP_NAME)
        buf_addf(out, " to %.*s", (int)op->text.len, (const char *)op->text.p);
    if (op->type == OP_REQUIRE && op->text.len)
        buf_addf(out, ": %.*s", (int)op->text.len, (const char *)op->text.p);
    if (op->type == OP_POLICY) {
        buf_add_str(out, ": ");
        policy_describe(out, &op->policy);
    }
    buf_add(out, "", 1);
}

static void report(void *arg, const struct ctl *record, const struct ctl_op *op, const char *why)
{
    struct node *n = arg;
    AUTO(buf_release) struct buf what = BUF_INIT(LIMIT_HEAD);
    describe(node_group(n), op, &what);
    const struct member *by = group_find(node_group(n), &record->signer);
    char hex[ID_HEX];
    const char *who = by ? by->card.name : id_hex(&record->signer, hex), *text = buf_ok(&what) ? (const char *)what.data : "?";
    log_warn("control record lost against another one what=\"%s\" by=%s why=\"%s\"", text, who, why);
    node_event(n, "control-record-lost", "what", text, "by", who, "reason", why, NULL);
}

static struct lost lost_of(struct node *n, const char *path)
{
    return (struct lost){.control = n->home->control, .keys = n->home->keys, .group_keys = n->home->group_keys, .path = path, .report = report, .arg = n};
}

static int on_losing(void *arg, uint64_t from)
{
    struct node *n = arg;
    AUTOFREE char *path = home_file(n->home, "control.lost");
    struct lost l = lost_of(n, path);
    log_warn("control log: another chain weighs more from=%llu of=%llu", (unsigned long long)from, (unsigned long long)node_group(n)->ctl_n);
    return lost_keep(&l, from);
}

static void issue_again(struct node *n)
{
    AUTOFREE char *path = home_file(n->home, "control.lost");
    struct lost l = lost_of(n, path);
    control_open_key(n);                 /* who is added again is given the one in force */
    int r = lost_issue(&l, loop_wall());
    if (r < 0)
        log_error("control records that lost cannot be signed again now why=\"%s\"", err_text());
    else if (r > 0)
        log_info("control records that lost are signed again operations=%d", r);
}

void control_start(struct node *n)
{
    struct before b;
    look_before(n, &b);
    issue_again(n);
    follow(n, &b);
    control_look_at_self(n);
    control_cuts(n);                     /* the node may have been killed between the record and this */
    control_open_key(n);
    control_renew_key(n);
}

/* ---- asking ---- */

struct ctl_request { struct node *n; struct link *link; bool stranger; struct id dev, tip; struct chain chain; struct ctl_request *next; };

static bool is_judged(const struct node *n, const struct id *dev, const struct id *tip)
{
    for (size_t i = 0; i < sizeof n->judged / sizeof *n->judged; i++)
        if (id_eq(&n->judged[i].dev, dev) && (id_eq(&n->judged[i].tip, tip) || loop_now() < n->judged[i].until))
            return true;
    return false;
}

/* It is not asked for this chain again: ours weighs more, or it is not valid. In the first case it hears so, as it may be unable to dial us.
 * In the second it is asked for none for a while: signatures without end can be made and named, and each costs us more than it. */
static void judged(struct node *n, const struct ctl_request *q, bool valid)
{
    if (id_is_none(&q->dev))
        return;
    n->judged[n->njudged++ % (sizeof n->judged / sizeof *n->judged)] = (struct judged){q->dev, q->tip, valid ? 0 : loop_now() + FALSE_MS};
    if (valid && link_state(q->link) == LINK_UP)
        tell(n, q->link, on_answer, NULL);
}

static void on_ctl(void *arg, const struct msg *m, zmq_msg_t *body);

static void ask(struct ctl_request *q)
{
    struct msg m = {.type = MSG_GET_CTL, .get_ctl = {.from = q->chain.asked}};
    link_request(q->link, LANE_CONTROL, &m, REQUEST_MS, on_ctl, q);
}

static void end_request(struct ctl_request *q)
{
    for (struct ctl_request **p = &q->n->ctl_requests; *p; p = &(*p)->next)
        if (*p == q) {
            *p = q->next;
            break;
        }
    if (q->stranger && link_state(q->link) != LINK_DEAD)
        link_kill(q->link, "its membership has been looked up");
    chain_release(&q->chain);
    free(q);
}

static void on_ctl(void *arg, const struct msg *m, zmq_msg_t *body)
{
    struct ctl_request *q = arg;
    struct node *n = q->n;
    struct before b;
    look_before(n, &b);
    int r = m && m->type == MSG_CTL ? chain_take(&q->chain, zmq_msg_data(body), zmq_msg_size(body)) : 0;
    if (r < 0)
        log_seldom(LOG_WARN, "control records refused why=\"%s\"", err_text());
    if (r <= 0)
        issue_again(n);
    follow(n, &b);
    if (m && r > 0 && link_state(q->link) != LINK_DEAD) {
        ask(q);
        return;
    }
    if (m && (r == ERR_BAD || r == ERR_DENIED || q->chain.kept_ours))
        judged(n, q, r >= 0);
    end_request(q);
}

static void ask_from(struct node *n, struct link *l, uint64_t from, const struct ctl_request *about)
{
    for (const struct ctl_request *p = n->ctl_requests; p; p = p->next)
        if (p->link == l)
            return;                      /* it has been asked and has not answered yet */
    struct ctl_request *q = xcalloc(1, sizeof *q);
    *q = *about;
    q->n = n;
    q->link = l;
    q->chain = (struct chain){.control = n->home->control, .losing = on_losing, .arg = n};
    q->next = n->ctl_requests;
    n->ctl_requests = q;
    chain_begin(&q->chain, from);
    ask(q);
}

/* Of a stranger nothing is known: perhaps his chain is another one. */
void control_ask(struct node *n, struct link *l, bool stranger)
{
    uint64_t next = node_group(n)->ctl_n + 1, back = stranger ? OVERLAP : 0;
    ask_from(n, l, next > back ? next - back : 1, &(struct ctl_request){.stranger = stranger});
}

void control_heard(struct node *n, struct link *l, uint64_t ctl_n, const struct id *tip)
{
    uint64_t own = node_group(n)->ctl_n;
    struct id ours;
    bool shorter = ctl_n <= own && control_hash(n->home->control, ctl_n, &ours) == 0;
    if (ctl_n == 0 || (shorter && id_eq(&ours, tip)) || is_judged(n, link_device(l), tip))
        return;
    ask_from(n, l, shorter ? ctl_n : own + 1, &(struct ctl_request){.dev = *link_device(l), .tip = *tip});
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
    net_body_of(&z, &body);
    net_reply(n->net, from, &(struct msg){.type = MSG_CTL, .req = m->req}, &z);
}

void control_told(struct node *n, const struct net_from *from, const struct msg *m, zmq_msg_t *body)
{
    struct chain c = {.control = n->home->control, .losing = on_losing, .arg = n};
    struct before b;
    net_reply(n->net, from, &(struct msg){.type = MSG_PONG, .req = m->req, .ping = {.wall_ms = loop_wall(), .ctr = n->announced.ctr}}, NULL);
    look_before(n, &b);
    chain_begin(&c, 0);
    int r = chain_take(&c, zmq_msg_data(body), zmq_msg_size(body));
    if (r < 0)
        log_seldom(LOG_INFO, "control records not taken why=\"%s\"", err_text());
    issue_again(n);
    follow(n, &b);
    chain_release(&c);
    struct link *l = peers_link(n->peers, &from->who);
    if (r == ERR_AGAIN && l)
        control_ask(n, l, false);
}
