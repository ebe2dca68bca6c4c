/* audit: who did what: the records of the control log and the notes of all devices, in one order that is the same everywhere; and whether
 * all of that is what was signed.
 *
 * The order: by time, then by who signed it, then by its number there. Each line has all three from what is signed, so no device can
 * have another order than the others. Control records have an order of their own, whatever their signers say of the time: one that is dated
 * before those that it follows was signed after them, and counts as of then. So nobody hides what he does now behind a clock of
 * last year. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api_priv.h"
#include "node/verify.h"
#include "proto/hlc.h"
#include "proto/path.h"
#include "proto/policy.h"

/* One line. ms: when it was done at the earliest. n, at: the number of the record or entry, and which of its operations it is; the group's records come before notes. */
struct line { uint64_t ms, n; struct id who; bool note; uint32_t at; struct buf value; };
struct lines {
    struct node *n;
    struct group group, after;       /* as it was before the record that is looked at, and, of one that adds somebody, after it */
    uint64_t since, latest;          /* latest: time of the control records so far */
    struct line *v; size_t nv, cap;
};

static void lines_release(struct lines *l)
{
    for (size_t i = 0; i < l->nv; i++)
        buf_release(&l->v[i].value);
    free(l->v);
    group_release(&l->group);
    group_release(&l->after);
}

static struct buf *add(struct lines *l, const struct line *line)
{
    if (l->nv == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        l->v = xrealloc(l->v, l->cap, sizeof *l->v);
    }
    l->v[l->nv] = *line;
    l->v[l->nv].value = (struct buf)BUF_INIT(2 * LIMIT_HEAD);
    return &l->v[l->nv++].value;
}

/* The part that all lines have; `fields` more follow. */
static void put_head(struct buf *b, size_t fields, uint64_t ms, const struct id *who, const char *device, const char *record, struct bytes what)
{
    mp_put_map(b, 5 + fields);
    put_time(b, "time", ms);
    put_text(b, "device", device);
    put_id(b, "id", who);
    put_text(b, "record", record);
    mp_put_str(b, "what");
    mp_put_strn(b, (const char *)what.p, what.len);
}

/* ---- the control log ---- */

static const char *name_in(const struct group *g, const struct id *dev, char hex[static ID_HEX])
{
    const struct member *m = group_find(g, dev);
    return m ? m->card.name : group_by_recovery(g, dev) ? "recovery phrase" : id_hex(dev, hex);
}

static void put_requirement(struct buf *about, const struct group *g, const struct ctl_op *op)
{
    const struct requirement *q = op->type == OP_CANCEL ? group_requirement(g, op->require_id) : NULL;
    if (op->text.len)
        buf_add(about, op->text.p, op->text.len);
    else
        buf_add_str(about, q && q->what->message[0] ? q->what->message : "a version");
}

/* By the name that it was given: that on its card may have been another member's. */
static void describe_added(struct buf *about, const struct group *after, const struct ctl_op *op)
{
    struct card card;
    const struct member *m = card_decode(op->card.p, op->card.len, &card) == 0 ? group_find(after, &card.dev) : NULL;
    buf_addf(about, "%s as %s", m ? m->card.name : "?", role_name(op->role));
}

static void describe(struct buf *about, const struct lines *l, const struct ctl_op *op)
{
    const struct group *g = &l->group;
    char hex[ID_HEX];
    switch (op->type) {
    case OP_ADD:
        describe_added(about, &l->after, op);
        return;
    case OP_POLICY:
        policy_describe(about, &op->policy);
        return;
    case OP_ROLE:
        buf_addf(about, "%s: %s", name_in(g, &op->dev, hex), role_name(op->role));
        return;
    case OP_NAME:
        buf_addf(about, "%s: %.*s", name_in(g, &op->dev, hex), (int)op->text.len, (const char *)op->text.p);
        return;
    case OP_REQUIRE:
    case OP_CANCEL:
        put_requirement(about, g, op);
        return;
    case OP_REVOKE:
    case OP_DORMANT:
        buf_add_str(about, name_in(g, &op->dev, hex));
        return;
    case OP_RECOVERY:
        buf_add_str(about, id_is_none(&op->recovery) ? "no recovery phrase" : "a new recovery phrase");
        return;
    default:
        return;
    }
}

#define FOUNDED "founded"
static const char *const words[] = {
    [OP_ADD] = "joined", [OP_REVOKE] = "revoked", [OP_ROLE] = "role", [OP_EPOCH] = "keys", [OP_REQUIRE] = "required", [OP_CANCEL] = "cancelled",
    [OP_DORMANT] = "dormant", [OP_RELAY] = "relay", [OP_POLICY] = "policy", [OP_NAME] = "renamed", [OP_RECOVERY] = "recovery",
};

static void add_op(struct lines *l, const struct ctl *c, const struct ctl_op *op, uint32_t at)
{
    AUTO(buf_release) struct buf about = BUF_INIT(LIMIT_HEAD);
    char record[32], hex[ID_HEX];
    struct buf *b = add(l, &(struct line){.ms = l->latest, .n = c->n, .who = c->signer, .at = at});
    snprintf(record, sizeof record, "control-%llu", (unsigned long long)c->n);
    describe(&about, l, op);
    buf_add(&about, "", 1);
    put_head(b, 1, c->ts_ms, &c->signer, name_in(&l->group, &c->signer, hex), record, NOTE_STR(words[op->type]));
    put_text(b, "about", buf_ok(&about) ? (const char *)about.data : NULL);
}

static bool adds_somebody(const struct ctl *c)
{
    struct mp m = ctl_ops(c);
    for (uint32_t i = 0; i < c->nops; i++) {
        struct ctl_op op;
        ctl_op_next(&m, &op);
        if (op.type == OP_ADD)
            return true;
    }
    return false;
}

static void add_ops(struct lines *l, const struct ctl *c)
{
    struct mp m = ctl_ops(c);
    l->latest = c->ts_ms > l->latest ? c->ts_ms : l->latest;
    for (uint32_t i = 0; i < c->nops && l->latest >= l->since; i++) {
        struct ctl_op op;
        ctl_op_next(&m, &op);
        add_op(l, c, &op, i);
    }
}

/* Only who was added is described as the group is afterwards: to copy it at every record would take long. */
static int add_record(struct lines *l, const struct ctl *c)
{
    if (!adds_somebody(c)) {
        add_ops(l, c);
        return group_apply(&l->group, c);
    }
    group_copy(&l->after, &l->group);
    int r = group_apply(&l->after, c);
    if (r < 0)
        return r;
    add_ops(l, c);
    group_release(&l->group);
    l->group = l->after;
    l->after = (struct group){0};
    return 0;
}

static int add_genesis(struct lines *l, const struct bytes *blob)
{
    struct genesis gen;
    int r = genesis_decode(blob->p, blob->len, &gen);
    if (r == 0)
        r = group_init(&l->group, blob->p, blob->len);
    if (r < 0)
        return r;
    l->latest = gen.created_ms;
    if (gen.created_ms < l->since)
        return 0;
    struct buf *b = add(l, &(struct line){.ms = gen.created_ms, .who = gen.owner.dev});
    put_head(b, 1, gen.created_ms, &gen.owner.dev, gen.owner.name, "control-0", NOTE_STR(FOUNDED));
    put_text(b, "about", "the group");
    return 0;
}

static int add_control(struct lines *l)
{
    const struct control *c = l->n->home->control;
    struct bytes blob;
    struct ctl record;
    int r = control_record(c, 0, &blob);
    if (r == 0)
        r = add_genesis(l, &blob);
    for (uint64_t i = 1; r == 0 && control_ctl(c, i, &record) == 0; i++)
        r = add_record(l, &record);
    return r;
}

/* ---- notes ---- */

static void put_part(struct buf *about, struct bytes part)
{
    if (!part.len)
        return;
    buf_add_str(about, about->len ? ", " : "");
    buf_add(about, part.p, part.len);
}

static void put_count(struct buf *about, uint64_t n, const char *word)
{
    if (n)
        buf_addf(about, "%s%llu %s", about->len ? ", " : "", (unsigned long long)n, word);
}

static bool is_word(const char *word, struct bytes what) { return word && strlen(word) == what.len && memcmp(word, what.p, what.len) == 0; }

/* No honest device notes what is in the control log: a member may want to look like an admin. */
static bool poses_as_record(struct bytes what)
{
    bool does = is_word(FOUNDED, what);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        does |= is_word(words[i], what);
    return does;
}

static void put_about(struct buf *b, const struct note *n, bool poses)
{
    AUTO(buf_release) struct buf about = BUF_INIT(LIMIT_HEAD);
    if (poses)
        put_part(&about, n->what);
    const char *path = n->path.len ? path_show(n->path.p, n->path.len) : "";
    put_part(&about, NOTE_STR(path));
    put_part(&about, n->name);
    put_count(&about, n->files, "brought back");
    put_count(&about, n->deleted, "deleted");
    put_part(&about, n->text);
    buf_add(&about, "", 1);
    put_text(b, "about", buf_ok(&about) ? (const char *)about.data : NULL);
}

static void put_bytes(struct buf *b, const char *key, struct bytes v)
{
    mp_put_str(b, key);
    if (v.len)
        mp_put_strn(b, (const char *)v.p, v.len);
    else
        mp_put_nil(b);
}

static int add_note(void *arg, const struct told *t)
{
    struct lines *l = arg;
    const struct note *n = &t->note;
    uint64_t ms = hlc_ms(t->hlc);
    char record[VERSION_ID];
    bool poses = poses_as_record(n->what);
    if (ms < l->since)
        return 0;
    struct buf *b = add(l, &(struct line){.ms = ms, .n = t->dot.seq, .who = *t->dev, .note = true});
    put_head(b, 6, ms, t->dev, member_name(l->n, t->dev), dot_id(&t->dot, record), poses ? NOTE_STR("said") : n->what);
    put_about(b, n, poses);
    if (n->path.len)
        put_path(b, "path", n->path.p, n->path.len);
    else
        put_text(b, "path", NULL);
    put_bytes(b, "name", n->name);
    put_bytes(b, "reason", n->text);
    put_u64(b, "files", n->files);
    put_u64(b, "deleted", n->deleted);
    return 0;
}

/* ---- in one order ---- */

/* Newest first. */
static int by_order(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    int c = x->ms != y->ms ? (x->ms < y->ms ? -1 : 1) : id_cmp(&x->who, &y->who);
    if (c == 0)
        c = x->note != y->note ? (x->note ? 1 : -1) : x->n != y->n ? (x->n < y->n ? -1 : 1) : (x->at > y->at) - (x->at < y->at);
    return -c;
}

static int list(struct session *s, uint64_t since, uint64_t limit)
{
    AUTO(lines_release) struct lines l = {.n = s->n, .since = since};
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    int r = add_control(&l);
    if (r == 0)
        r = engine_notes(s->n->engine, add_note, &l);
    if (r < 0)
        return r;
    if (l.nv)
        qsort(l.v, l.nv, sizeof *l.v, by_order);
    size_t n = l.nv < limit ? l.nv : (size_t)limit;
    mp_put_array(&b, n);
    for (size_t i = 0; i < n; i++)
        buf_add(&b, l.v[i].value.data, l.v[i].value.len);
    session_reply(s, false, &b);
    return 0;
}

/* ---- whether it is what was signed ---- */

static void put_result(struct buf *b, const struct verify_result *f)
{
    uint64_t told = f->faults < VERIFY_FAULTS ? f->faults : VERIFY_FAULTS;
    mp_put_map(b, 7);
    put_bool(b, "ok", f->faults == 0);
    put_u64(b, "records", f->records);
    put_u64(b, "streams", f->streams);
    put_u64(b, "sets", f->sets);
    put_u64(b, "entries", f->entries);
    put_u64(b, "forgotten", f->forgotten);
    mp_put_str(b, "faults");
    mp_put_array(b, told);
    for (uint64_t i = 0; i < told; i++) {
        mp_put_map(b, 1);
        put_text(b, "fault", f->fault[i]);
    }
}

static int check_verified(struct session *s)
{
    struct verify *v = s->data;
    bool more;
    int r = verify_step(v, &more);
    if (r < 0)
        return r;
    if (more) {
        api_poll(s->api);
        return 0;
    }
    const struct verify_result *f = verify_result(v);
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    put_result(&b, f);
    session_reply(s, f->faults > 0, &b);
    s->check = NULL;
    return f->faults ? err_set(ERR_CORRUPT, "the record is not what was signed: %llu faults", (unsigned long long)f->faults) : 0;
}

static void end_verify(void *data)
{
    struct verify *v = data;
    verify_free(&v);
}

static int verify(struct session *s)
{
    struct verify *v;
    int r = verify_new(s->n->home->control, s->n->index, &v);
    if (r < 0)
        return r;
    s->data = v;
    s->release = end_verify;
    session_wait(s, check_verified, NO_LIMIT, NULL);
    return 0;
}

int run_audit(struct session *s, const struct bytes *args)
{
    uint64_t since = 0, limit = NO_LIMIT;
    bool proof = false;
    int r = arg_u64(args, "since", &since);
    if (r == 0)
        r = arg_u64(args, "limit", &limit);
    if (r == 0)
        r = arg_bool(args, "verify", &proof);
    if (r < 0)
        return r;
    return proof ? verify(s) : list(s, since, limit);
}
