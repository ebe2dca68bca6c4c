/* A lost owner: the phrase that its user has kept makes another device owner; and new phrases.
 *
 * Stretching a phrase takes a while, so it is a job. What is asked of the group is asked again when it is done. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api_priv.h"
#include "node/node_priv.h"
#include "proto/phrase.h"

/* In sodium's memory, with both phrases and the key of the first. */
struct recovery {
    struct job job;
    struct node *n;
    struct session *s;                             /* NULL: has gone, and nothing is done */
    char phrase[PHRASE_TEXT];                      /* what was typed; "": an owner asks for a new one */
    char fresh[PHRASE_TEXT];
    struct device_keys key, fresh_key;
    char lost[ID_HEX];                             /* the device to be revoked; "": none */
    int code; char text[256];                      /* of the job */
};

static const struct member *self_of(const struct node *n) { return group_find(node_group(n), &n->home->keys->dev); }

/* ---- what is asked first ---- */

static int need_owner(struct node *n)
{
    int r = need_member(n);
    const struct member *self = self_of(n);
    if (r < 0 || (self && self->role == ROLE_OWNER))
        return r;
    return err_set(ERR_DENIED, "only an owner can make a new recovery phrase: with the old one, use `lanyard device recover`");
}

static int need_recovery(struct node *n)
{
    int r = need_member(n);
    if (r < 0 || !id_is_none(&node_group(n)->recovery))
        return r;
    return err_set(ERR_NOTFOUND, "this group has no recovery phrase: an owner makes one with `lanyard device recovery new`");
}

/* ---- the record ---- */

static int revoke_op(struct node *n, const char *name, struct buf *cuts, struct ctl_op *op)
{
    const struct member *m;
    int r = find_device(n, name, &m);
    if (r < 0)
        return r;
    if (m == self_of(n))
        return err_set(ERR_USAGE, "--revoke: %s is this device: name the one that is lost", m->card.name);
    r = put_cuts(n, &m->card.dev, cuts);
    *op = (struct ctl_op){.type = OP_REVOKE, .dev = m->card.dev, .cuts = {cuts->data, cuts->len}};
    return r;
}

/* One record: after its last operation the old key may sign nothing. */
static int issue_recover(struct recovery *q)
{
    AUTO(buf_release) struct buf cuts = BUF_INIT(LIMIT_CTL_BYTES);
    struct ctl_op op[3];
    size_t nop = 0;
    int r = need_recovery(q->n);
    if (r == 0 && !group_by_recovery(node_group(q->n), &q->key.dev))
        r = err_set(ERR_DENIED, "this is not the recovery phrase of the group, or it is not any more: nothing has been changed");
    if (r == 0 && self_of(q->n)->role != ROLE_OWNER)
        op[nop++] = (struct ctl_op){.type = OP_ROLE, .dev = q->n->home->keys->dev, .role = ROLE_OWNER};
    if (r == 0 && *q->lost)
        r = revoke_op(q->n, q->lost, &cuts, &op[nop++]);
    if (r < 0)
        return r;
    op[nop++] = (struct ctl_op){.type = OP_RECOVERY, .recovery = q->fresh_key.dev};
    return control_issue_as(q->n, &q->key, op, nop);
}

static int issue_new(struct recovery *q)
{
    int r = need_owner(q->n);
    return r < 0 ? r : control_issue(q->n, &(struct ctl_op){.type = OP_RECOVERY, .recovery = q->fresh_key.dev}, 1);
}

/* ---- the job ---- */

static void stretch(struct job *j)
{
    struct recovery *q = (struct recovery *)j;
    q->code = *q->phrase ? phrase_keys(q->phrase, &q->key) : 0;
    if (q->code == 0)
        q->code = phrase_keys(q->fresh, &q->fresh_key);
    if (q->code < 0)
        snprintf(q->text, sizeof q->text, "%s", err_text());
}

static void answer(struct recovery *q)
{
    AUTO(buf_release) struct buf device = BUF_INIT(LIMIT_HEAD), b = BUF_INIT(LIMIT_HEAD);
    put_device(&device, q->n, self_of(q->n));
    struct mp m = mp_reader(device.data, device.len);
    uint32_t n = mp_map(&m, UINT32_MAX);
    mp_put_map(&b, n + 1);
    buf_add(&b, m.p, (size_t)(m.end - m.p));
    put_text(&b, "recovery", q->fresh);
    session_reply(q->s, false, &b);
    sodium_memzero(b.data, b.len);
}

static void stretched(struct job *j)
{
    struct recovery *q = (struct recovery *)j;
    struct session *s = q->s;
    int r = q->code < 0 ? err_set(q->code, "%s", q->text) : 0;
    if (s) {
        s->data = NULL;
        s->release = NULL;
        if (r == 0)
            r = *q->phrase ? issue_recover(q) : issue_new(q);
        if (r == 0)
            answer(q);
        else
            session_fail(s, ctl_exit_code(r), err_text());
    }
    sodium_free(q);
}

static void forget(void *data) { ((struct recovery *)data)->s = NULL; }

static struct recovery *recovery_job(struct session *s)
{
    struct recovery *q = sodium_malloc(sizeof *q);
    if (!q)
        return NULL;
    *q = (struct recovery){.job = {.run = stretch, .done = stretched, .slow = true}, .n = s->n, .s = s, .code = ERR_CLOSED,
                           .text = "the node is ending"};
    phrase_generate(q->fresh);
    return q;
}

static int begin(struct session *s, struct recovery *q)
{
    s->data = q;
    s->release = forget;
    pool_submit(s->n->pool, &q->job);
    return 0;
}

static int no_memory(void) { return err_set(ERR_FULL, "no locked memory for a recovery phrase"); }

int recover(struct session *s, const char *phrase, const char *lost)
{
    AUTO(buf_release) struct buf cuts = BUF_INIT(LIMIT_CTL_BYTES);
    struct recovery *q = NULL;
    struct ctl_op op = {0};
    int r = phrase ? need_recovery(s->n) : err_set(ERR_USAGE, "argument \"phrase\": missing or of the wrong type");
    if (r == 0 && lost)
        r = revoke_op(s->n, lost, &cuts, &op);
    if (r == 0 && !(q = recovery_job(s)))
        r = no_memory();
    if (r == 0)
        r = phrase_normalise(phrase, q->phrase);
    if (r < 0) {
        sodium_free(q);
        return r;
    }
    if (lost)
        id_hex(&op.dev, q->lost);
    return begin(s, q);
}

int recovery_new(struct session *s)
{
    int r = need_owner(s->n);
    struct recovery *q = r == 0 ? recovery_job(s) : NULL;
    if (r == 0 && !q)
        r = no_memory();
    return r < 0 ? r : begin(s, q);
}
