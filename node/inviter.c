#include "node/inviter.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "node/address.h"
#include "node/epoch.h"
#include "node/file.h"
#include "node/log.h"
#include "proto/field.h"

enum { GRACE_MS = 10000 };       /* how long the last try of an invite may take from JOIN1 to JOIN3 */
enum { BUSY_MS = 200 };          /* when to ask again while a code is being stretched */
enum { CARD_MAX = 1024 };        /* a signed card; the longest has less than 300 bytes */
enum { MEMBERSHIP_MORE = 4096 }; /* what a membership has besides the control log: the new ADD, keys, addresses */

enum state { INVITE_FREE, INVITE_OPEN, INVITE_USED, INVITE_EXPIRED, INVITE_BURNED };
static const char *const WHY[] = {
    [INVITE_USED] = "this code has been used already: ask for a new one",
    [INVITE_EXPIRED] = "this code has expired: ask for a new one",
    [INVITE_BURNED] = "this code has been tried too often: ask for a new one",
};

struct try { struct id who; struct pake *pake; };          /* pake NULL: it is over */
struct invite {
    enum state state;
    uint64_t number, until, grace;                          /* grace: 0, or when the last try is over */
    enum role role;
    char hint[3];
    struct stretch *stretch;                                /* while it is under way */
    uint8_t prs[32]; bool ready;
    struct try try[INVITE_TRIES]; unsigned ntry;
};
struct inviter {
    struct inviter_config c;
    struct loop_timer timer;
    uint64_t last_number;
    uint8_t server_pk[32];
    struct invite invite[INVITES];
};

/* ---- stretching a code ---- */

struct stretch {
    struct job job;
    struct inviter *inviter; struct invite *invite;         /* NULL: the invite has ended meanwhile */
    char code[CODE_TEXT];
    uint8_t prs[32];
    bool ok;
};

static void stretch_run(struct job *j)
{
    struct stretch *s = (struct stretch *)j;
    s->ok = code_stretch(s->code, s->prs) == 0;
}

static void finish(struct inviter *i, struct invite *v, enum state state);

static void stretch_done(struct job *j)
{
    struct stretch *s = (struct stretch *)j;
    struct invite *v = s->invite;
    if (v) {
        v->stretch = NULL;
        v->ready = s->ok;
        memcpy(v->prs, s->prs, sizeof v->prs);
        if (!s->ok) {
            log_error("an invite cannot be used: no memory to stretch its code");
            finish(s->inviter, v, INVITE_EXPIRED);
        }
    }
    sodium_memzero(s, sizeof *s);
    free(s);
}

static void stretch_start(struct inviter *i, struct invite *v, const char code[static CODE_TEXT])
{
    struct stretch *s = xcalloc(1, sizeof *s);
    s->job = (struct job){.run = stretch_run, .done = stretch_done};
    s->inviter = i;
    s->invite = v;
    memcpy(s->code, code, sizeof s->code);
    v->stretch = s;
    pool_submit(i->c.pool, &s->job);
}

/* ---- the life of an invite ---- */

static bool takes_tries(const struct invite *v) { return v->state == INVITE_OPEN && v->ntry < INVITE_TRIES; }

/* One hint can be announced: the newest invite's. */
static void announce(struct inviter *i)
{
    const struct invite *newest = NULL;
    for (struct invite *v = i->invite; v < i->invite + INVITES; v++)
        if (takes_tries(v) && (!newest || v->number > newest->number))
            newest = v;
    if (i->c.ops.hint)
        i->c.ops.hint(i->c.ops.arg, newest ? newest->hint : NULL);
}

static void on_timer(void *arg);

static uint64_t due(const struct invite *v)
{
    return v->state == INVITE_OPEN && v->grace && v->grace < v->until ? v->grace : v->until;
}

static void schedule(struct inviter *i)
{
    uint64_t next = UINT64_MAX, now = loop_now();
    for (struct invite *v = i->invite; v < i->invite + INVITES; v++)
        if (v->state != INVITE_FREE && v->until > now && due(v) < next)
            next = due(v);
    if (next != UINT64_MAX)
        loop_timer_set(i->c.loop, &i->timer, next > now ? next - now : 0, on_timer, i);
}

/* Nothing that could still be used stays behind; hint and tries remain, to say why it is over. */
static void forget_secrets(struct invite *v)
{
    sodium_memzero(v->prs, sizeof v->prs);
    v->ready = false;
    for (unsigned t = 0; t < v->ntry; t++)
        pake_free(&v->try[t].pake);
    if (v->stretch)
        v->stretch->invite = NULL;
    v->stretch = NULL;
}

static void finish(struct inviter *i, struct invite *v, enum state state)
{
    forget_secrets(v);
    v->state = state;
    announce(i);
    if (state != INVITE_USED)
        i->c.ops.ended(i->c.ops.arg, v->number, WHY[state]);
}

static void close_all(struct inviter *i)
{
    for (struct invite *v = i->invite; v < i->invite + INVITES; v++) {
        forget_secrets(v);
        *v = (struct invite){0};
    }
    net_join_close(i->c.net);
}

static void on_timer(void *arg)
{
    struct inviter *i = arg;
    uint64_t now = loop_now();
    bool over = true;
    for (struct invite *v = i->invite; v < i->invite + INVITES; v++) {
        if (v->state == INVITE_OPEN && now >= due(v))
            finish(i, v, now >= v->until ? INVITE_EXPIRED : INVITE_BURNED);
        over &= v->state == INVITE_FREE || now >= v->until;
    }
    if (over)
        close_all(i);
    else
        schedule(i);
}

/* ---- inviting ---- */

static int may_invite(const struct inviter *i, enum role role)
{
    const struct group *g = control_group(i->c.control);
    const struct member *self = group_find(g, &i->c.keys->dev), *boss = NULL;
    for (size_t m = 0; m < g->nmember && !boss; m++)
        if (member_may_admin(&g->member[m]))
            boss = &g->member[m];
    if (!member_may_admin(self))
        return err_set(ERR_DENIED, "only an owner or admin can invite: ask %s", boss ? boss->card.name : "one of them");
    if (role < self->role)
        return err_set(ERR_DENIED, "a device with the role %s cannot make another one %s: ask %s", role_name(self->role),
                       role_name(role), boss->card.name);
    return 0;
}

/* A free place, else that of the invite that has been over for the longest. */
static struct invite *place(struct inviter *i)
{
    struct invite *best = NULL;
    for (struct invite *v = i->invite; v < i->invite + INVITES; v++) {
        if (v->state == INVITE_FREE)
            return v;
        if (v->state != INVITE_OPEN && (!best || v->number < best->number))
            best = v;
    }
    return best;
}

static struct invite *by_hint(struct inviter *i, const char *hint)
{
    struct invite *found = NULL;
    for (struct invite *v = i->invite; v < i->invite + INVITES; v++)
        if (v->state != INVITE_FREE && strcmp(v->hint, hint) == 0)
            found = v;
    return found;
}

/* A code with a hint of its own: joiners name by it which one they mean. */
static void new_code(struct inviter *i, char code[static CODE_TEXT], char hint[static 3])
{
    do {
        code_generate(code);
        code_hint(code, hint);
    } while (by_hint(i, hint));
}

int inviter_invite(struct inviter *i, enum role role, uint64_t ttl_s, char code[static CODE_TEXT], uint64_t *invite)
{
    if (ttl_s == 0 || ttl_s > INVITE_TTL_MAX_S)
        return err_set(ERR_USAGE, "an invite can last from a second to %u days", INVITE_TTL_MAX_S / (24 * 3600));
    int r = may_invite(i, role);
    if (r < 0)
        return r;
    struct invite *v = place(i);
    if (!v)
        return err_set(ERR_FULL, "%d invites are open already: wait until one has been used or has ended", INVITES);
    r = net_join_open(i->c.net);
    if (r < 0)
        return r;
    *v = (struct invite){0};
    char hint[3];
    new_code(i, code, hint);
    *v = (struct invite){.state = INVITE_OPEN, .number = ++i->last_number, .until = loop_now() + ttl_s * 1000, .role = role};
    memcpy(v->hint, hint, sizeof v->hint);
    stretch_start(i, v, code);
    schedule(i);
    announce(i);
    *invite = v->number;
    return 0;
}

/* ---- the exchange ---- */

static void refuse(struct inviter *i, const struct net_from *to, const struct msg *m, enum msg_error code, const char *text,
                   uint64_t retry_ms)
{
    size_t len = strlen(text);
    struct msg e = {.type = MSG_ERR, .req = m->req};
    e.err.code = code;
    e.err.text = (struct bytes){(const uint8_t *)text, len};
    if (len > LIMIT_TEXT || !text_ok(text, len))
        e.err.text = (struct bytes){(const uint8_t *)"refused", strlen("refused")};
    e.err.retry_ms = retry_ms;
    net_reply_join(i->c.net, to, &e, NULL);
}

/* Why the invite is over, or NULL. */
static const char *closed(const struct invite *v)
{
    if (v->state != INVITE_OPEN)
        return WHY[v->state];
    return loop_now() >= v->until ? WHY[INVITE_EXPIRED] : NULL;
}

/* A joiner has one exchange at a time. */
static void drop_exchange(struct inviter *i, const struct id *who)
{
    for (struct invite *v = i->invite; v < i->invite + INVITES; v++)
        for (unsigned t = 0; t < v->ntry; t++)
            if (id_eq(&v->try[t].who, who))
                pake_free(&v->try[t].pake);
}

static void answer_share(struct inviter *i, const struct net_from *from, const struct msg *m, struct invite *v)
{
    drop_exchange(i, &from->who);
    struct try *t = &v->try[v->ntry++];
    if (v->ntry == INVITE_TRIES) {
        v->grace = loop_now() + GRACE_MS;
        schedule(i);
        announce(i);
    }
    log_info("join: try %u of %d from=%s", v->ntry, INVITE_TRIES, from->address);
    struct msg reply = {.type = MSG_JOIN2, .req = m->req};
    t->who = from->who;
    t->pake = pake_new(PAKE_INVITER, v->prs, i->server_pk, from->who.b, reply.join2.share);
    if (pake_derive(t->pake, m->join1.share) < 0) {
        pake_free(&t->pake);
        refuse(i, from, m, MSGERR_PROTO, err_text(), 0);
        return;
    }
    pake_tag(t->pake, reply.join2.tag);
    net_reply_join(i->c.net, from, &reply, NULL);
}

static void on_join1(struct inviter *i, const struct net_from *from, const struct msg *m)
{
    struct invite *v = by_hint(i, m->join1.hint);
    if (m->join1.proto_min > PROTO_MAX || m->join1.proto_max < PROTO_MIN)
        refuse(i, from, m, MSGERR_PROTO, "the two devices have no protocol version in common: update the older one", 0);
    else if (!v)
        refuse(i, from, m, MSGERR_AUTH, "no device here waits for this code: it is wrong, used or expired", 0);
    else if (closed(v))
        refuse(i, from, m, MSGERR_AUTH, closed(v), 0);
    else if (v->ntry == INVITE_TRIES)
        refuse(i, from, m, MSGERR_AUTH, WHY[INVITE_BURNED], 0);
    else if (!v->ready)
        refuse(i, from, m, MSGERR_BUSY, "the code is not ready yet", BUSY_MS);
    else
        answer_share(i, from, m, v);
}

/* Newest first: an earlier one of the same joiner is over. */
static struct try *find_try(struct inviter *i, const struct id *who, struct invite **out)
{
    struct try *found = NULL;
    for (struct invite *v = i->invite; v < i->invite + INVITES; v++)
        for (unsigned t = 0; t < v->ntry; t++)
            if (id_eq(&v->try[t].who, who) && (!found || v->try[t].pake)) {
                found = &v->try[t];
                *out = v;
            }
    return found;
}

static int append_member(struct inviter *i, const struct bytes *blob, const struct card *card, enum role role)
{
    const struct group *g = control_group(i->c.control);
    uint8_t sealed[SEALED_KEYS];
    epoch_seal(i->c.group_keys->k_epoch, i->c.group_keys->epoch, card->tr_pk, sealed);
    struct ctl c = {.group = g->id, .prev = g->ctl_hash, .signer = i->c.keys->dev, .n = g->ctl_n + 1, .ts_ms = loop_wall()};
    struct ctl_op op = {.type = OP_ADD, .card = *blob, .role = role, .sealed = {sealed, sizeof sealed}};
    AUTO(buf_release) struct buf record = BUF_INIT(LIMIT_CTL_BYTES);
    int r = ctl_encode(&record, &c, &op, 1, i->c.keys);
    return r < 0 ? r : control_append(i->c.control, record.data, record.len);
}

static size_t log_bytes(const struct inviter *i)
{
    size_t total = 0;
    struct bytes blob;
    for (uint64_t n = 0; control_record(i->c.control, n, &blob) == 0; n++)
        total += blob.len;
    return total;
}

static int put_membership(const struct inviter *i, struct buf *out)
{
    AUTO(buf_release) struct buf ctl = BUF_INIT(LIMIT_BODY), addrs = BUF_INIT(LIMIT_ADDRS * 70u);
    struct membership m = {.epoch = i->c.group_keys->epoch};
    struct bytes blob;
    char own[LIMIT_ADDRS][64];
    int r = control_record(i->c.control, 0, &m.genesis);
    assert(r == 0);
    while (control_record(i->c.control, m.nctl + 1, &blob) == 0) {
        buf_add(&ctl, blob.p, blob.len);
        m.nctl++;
    }
    m.naddr = address_own(net_address(i->c.net), own);
    for (uint32_t a = 0; a < m.naddr; a++)
        mp_put_str(&addrs, own[a]);
    if (!buf_ok(&ctl) || !buf_ok(&addrs))
        return err_set(ERR_FULL, "membership: no memory");
    m.ctl = (struct bytes){ctl.data, ctl.len};
    m.addrs = (struct bytes){addrs.data, addrs.len};
    memcpy(m.k_group, i->c.group_keys->k_group, sizeof m.k_group);
    memcpy(m.k_epoch, i->c.group_keys->k_epoch, sizeof m.k_epoch);
    r = membership_encode(out, &m);
    sodium_memzero(&m, sizeof m);
    return r;
}

static int send_membership(struct inviter *i, const struct net_from *from, const struct msg *m, struct pake *pake)
{
    AUTO(file_wipe) struct buf plain = BUF_INIT(LIMIT_BODY);
    AUTO(buf_release) struct buf box = BUF_INIT(LIMIT_BODY);
    int r = put_membership(i, &plain);
    if (r == 0)
        r = pake_seal(pake, &box, plain.data, plain.len);
    if (r < 0)
        return r;
    struct msg reply = {.type = MSG_JOIN4, .req = m->req};
    zmq_msg_t body;
    net_body_of(&body, &box);
    net_reply_join(i->c.net, from, &reply, &body);
    return 0;
}

/* The joiner has proven that it knows the code. Its invite is used from the moment in which the control log names the device. */
static int admit(struct inviter *i, const struct net_from *from, const struct msg *m, zmq_msg_t *body, struct invite *v, struct try *t)
{
    AUTO(buf_release) struct buf blob = BUF_INIT(CARD_MAX);
    struct card card;
    int r = pake_open(t->pake, &blob, zmq_msg_data(body), zmq_msg_size(body));
    if (r == 0)
        r = card_decode(blob.data, blob.len, &card);
    if (r == 0 && log_bytes(i) + MEMBERSHIP_MORE > LIMIT_BODY)
        r = err_set(ERR_FULL, "the group's history is too long to be handed to a new device");
    if (r == 0)
        r = append_member(i, &(struct bytes){blob.data, blob.len}, &card, v->role);
    if (r < 0)
        return r;
    v->state = INVITE_USED;
    i->c.ops.appended(i->c.ops.arg);
    r = send_membership(i, from, m, t->pake);
    if (r < 0)
        log_error("join: the new member got no membership: revoke it and invite again why=\"%s\"", err_text());
    const struct member *added = group_find(control_group(i->c.control), &card.dev);
    log_info("join: new member name=\"%s\" role=%s from=%s", added->card.name, role_name(v->role), from->address);
    finish(i, v, INVITE_USED);
    i->c.ops.joined(i->c.ops.arg, v->number, &card.dev, added->card.name);
    return 0;
}

static void on_join3(struct inviter *i, const struct net_from *from, const struct msg *m, zmq_msg_t *body)
{
    struct invite *v = NULL;
    struct try *t = find_try(i, &from->who, &v);
    if (!t || (!t->pake && !closed(v))) {
        refuse(i, from, m, MSGERR_AUTH, "no exchange with this device is under way", 0);
        return;
    }
    if (closed(v)) {
        refuse(i, from, m, MSGERR_AUTH, closed(v), 0);
        return;
    }
    int r = pake_check(t->pake, m->join3.tag);
    if (r == 0)
        r = admit(i, from, m, body, v, t);
    if (r < 0) {
        log_info("join: refused from=%s why=\"%s\"", from->address, err_text());
        refuse(i, from, m, MSGERR_AUTH, err_text(), 0);
        pake_free(&t->pake);
    }
}

void inviter_message(struct inviter *i, const struct net_from *from, const struct msg *m, zmq_msg_t *body)
{
    if (m->type == MSG_JOIN1)
        on_join1(i, from, m);
    else if (m->type == MSG_JOIN3)
        on_join3(i, from, m, body);
    else
        refuse(i, from, m, MSGERR_PROTO, "not a message for this socket", 0);
}

/* ---- life cycle ---- */

int inviter_new(const struct inviter_config *c, struct inviter **out)
{
    struct inviter *i = sodium_malloc(sizeof *i);           /* it holds what codes become */
    if (!i)
        return err_set(ERR_FULL, "no memory for invites");
    memset(i, 0, sizeof *i);
    i->c = *c;
    uint8_t sk[32];
    keys_join_server(i->server_pk, sk);
    *out = i;
    return 0;
}

void inviter_free(struct inviter **pi)
{
    struct inviter *i = *pi;
    if (!i)
        return;
    loop_timer_clear(i->c.loop, &i->timer);
    close_all(i);
    sodium_free(i);
    *pi = NULL;
}
