/* What an admin does about the devices of the group: records of the control log. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "node/api_priv.h"
#include "node/node_priv.h"

enum { CUTS_MAX = 512 };               /* of one device: a record must stay short enough to be told to it */

int need_member(const struct node *n)
{
    return n->revoked_error[0] ? err_set(ERR_DENIED, "%s", n->revoked_error) : 0;
}

/* ---- cuts ---- */

struct streams { const struct id *dev; struct cut *v; size_t n; };

static int note_stream(void *arg, const struct ix_stream *row)
{
    struct streams *s = arg;
    if (!id_eq(&row->dev, s->dev) || !row->known)
        return 0;
    s->v = xrealloc(s->v, s->n + 1, sizeof *s->v);
    s->v[s->n++] = (struct cut){.sid = row->sid, .seq = row->known, .hdr_hash = row->tip};
    return 0;
}

static int by_length(const void *a, const void *b)
{
    const struct cut *x = a, *y = b;
    return (x->seq < y->seq) - (x->seq > y->seq);
}

static int by_sid(const void *a, const void *b)
{
    const struct cut *x = a, *y = b;
    return sid_cmp(&x->sid, &y->sid);
}

/* What this node has of a device that shall write no more: of one that has filled the group with streams, the longest ones. */
int put_cuts(struct node *n, const struct id *dev, struct buf *out)
{
    struct streams s = {.dev = dev};
    int r = index_stream_each(n->index, note_stream, &s);
    if (s.n > CUTS_MAX) {
        qsort(s.v, s.n, sizeof *s.v, by_length);
        s.n = CUTS_MAX;
    }
    if (s.n)
        qsort(s.v, s.n, sizeof *s.v, by_sid);
    mp_put_array(out, s.n);
    for (size_t i = 0; i < s.n; i++)
        cut_put(out, &s.v[i]);
    free(s.v);
    return r;
}

/* ---- who ---- */

int need_admin(struct node *n)
{
    const struct member *self = group_find(node_group(n), &n->home->keys->dev);
    int r = need_member(n);
    if (r < 0 || member_may_admin(self))
        return r;
    return err_set(ERR_DENIED, "only an owner or admin can do this, and this device is %s", self ? role_name(self->role) : "none");
}

/* A member; group_apply says the rest of what may be done to it. */
int find_device(struct node *n, const char *name, const struct member **out)
{
    if (!name)
        return err_set(ERR_USAGE, "argument \"name\": missing or of the wrong type");
    const struct member *m = group_by_name(node_group(n), name), *one;
    size_t fits = group_named(node_group(n), name, &one);
    if (!m && fits)
        return err_set(ERR_NOTFOUND, "%s fits %zu devices, by their names or ids: give a whole id: `lanyard devices --json` shows them", name, fits);
    if (!m)
        return err_set(ERR_NOTFOUND, "there is no device %s: `lanyard devices` lists all", name);
    if (m->revoked)
        return err_set(ERR_NOTFOUND, "%s has been revoked already", m->card.name);
    *out = m;
    return 0;
}

static int need_other_owner(struct node *n, const struct member *m)
{
    if (!group_is_last_owner(node_group(n), m))
        return 0;
    return err_set(ERR_DENIED, "%s is the only owner: make another device an owner first", m->card.name);
}

/* ---- what ---- */

static int do_role(struct node *n, const struct member *m, const char *text)
{
    AUTO(buf_release) struct buf cuts = BUF_INIT(LIMIT_CTL_BYTES);
    struct ctl_op op = {.type = OP_ROLE, .dev = m->card.dev};
    int r = role_parse(text ? text : "", &op.role);
    if (r < 0 || op.role == m->role)
        return r;
    if (op.role != ROLE_OWNER && (r = need_other_owner(n, m)) < 0)
        return r;
    if (!role_may_write(op.role) && (r = put_cuts(n, &m->card.dev, &cuts)) < 0)
        return r;
    op.cuts = (struct bytes){cuts.data, cuts.len};
    return control_issue(n, &op, 1);
}

static int do_revoke(struct node *n, const struct member *m, const char *text)
{
    (void)text;
    AUTO(buf_release) struct buf cuts = BUF_INIT(LIMIT_CTL_BYTES);
    struct ctl_op op = {.type = OP_REVOKE, .dev = m->card.dev};
    int r = need_other_owner(n, m);
    if (r == 0)
        r = put_cuts(n, &m->card.dev, &cuts);
    if (r < 0)
        return r;
    op.cuts = (struct bytes){cuts.data, cuts.len};
    return control_issue(n, &op, 1);
}

static int do_rename(struct node *n, const struct member *m, const char *text)
{
    if (!text || device_name_check(text) < 0) {
        AUTOFREE char *why = xstrdup(text ? err_text() : "missing");
        return err_set(ERR_USAGE, "the new name: %s", why);
    }
    if (strcmp(m->card.name, text) == 0)
        return 0;
    const struct group *g = node_group(n);
    for (size_t i = 0; i < g->nmember; i++)
        if (strcmp(g->member[i].card.name, text) == 0)
            return err_set(ERR_EXISTS, "there is a device %s%s: choose another name", text, g->member[i].revoked ? ", a revoked one" : "");
    struct ctl_op op = {.type = OP_NAME, .dev = m->card.dev, .text = {(const uint8_t *)text, strlen(text)}};
    return control_issue(n, &op, 1);
}

static const struct { const char *op; int (*run)(struct node *n, const struct member *m, const char *text); } changes[] = {
    {"role", do_role}, {"revoke", do_revoke}, {"rename", do_rename},
};

/* The answer is the device as it is now. */
static int change(struct session *s, size_t which, const char *name, const char *text)
{
    const struct member *m = NULL;
    int r = need_admin(s->n);
    if (r == 0)
        r = find_device(s->n, name, &m);
    if (r < 0)
        return r;
    struct id dev = m->card.dev;         /* the list of members is another one afterwards */
    r = changes[which].run(s->n, m, text);
    if (r < 0)
        return r;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_HEAD);
    put_device(&b, s->n, group_find(node_group(s->n), &dev));
    session_reply(s, false, &b);
    return 0;
}

static int run_recover(struct session *s, const struct bytes *args)
{
    AUTOFREE char *phrase = NULL, *lost = NULL;
    int r = arg_text(args, "phrase", &phrase);
    if (r == 0)
        r = arg_text(args, "revoke", &lost);
    if (r == 0)
        r = recover(s, phrase, lost);
    if (phrase)
        sodium_memzero(phrase, strlen(phrase));
    return r;
}

int run_device(struct session *s, const struct bytes *args)
{
    AUTOFREE char *op = NULL, *name = NULL, *text = NULL;
    int r = arg_text(args, "op", &op);
    if (r == 0 && op && strcmp(op, "recover") == 0)
        return run_recover(s, args);
    if (r == 0 && op && strcmp(op, "recovery") == 0)
        return recovery_new(s);
    if (r == 0)
        r = arg_text(args, "name", &name);
    if (r == 0)
        r = arg_text(args, "to", &text);
    for (size_t i = 0; r == 0 && op && i < sizeof changes / sizeof *changes; i++)
        if (strcmp(op, changes[i].op) == 0)
            return change(s, i, name, text);
    return r < 0 ? r : err_set(ERR_USAGE, "device: use role, rename, revoke, recover or recovery");
}
