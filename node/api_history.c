/* The versions of a path. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api_priv.h"
#include "node/far.h"
#include "proto/hlc.h"
#include "proto/merge.h"
#include "proto/path.h"

const char *dot_id(const struct dot *d, char out[static VERSION_ID])
{
    char hex[SID_HEX];
    snprintf(out, VERSION_ID, "%.16s-%llu", sid_hex(&d->sid, hex), (unsigned long long)d->seq);
    return out;
}

const char *version_id(struct node *n, const struct ix_entry *row, char out[static VERSION_ID])
{
    if (!row->id)
        return kept_id(&row->root, out);
    return dot_id(&(struct dot){*engine_stream_sid(n->engine, row->stream), row->seq}, out);
}

uint64_t inquiry_ms(const struct node *n) { return far_is_large(n) ? HIST_ALL_MS : HIST_MS; }

const char *member_name(struct node *n, const struct id *dev)
{
    const struct member *m = group_find(control_group(n->home->control), dev);
    return m ? m->card.name : "?";
}

const char *version_device(struct node *n, const struct ix_entry *row)
{
    const struct id *dev = row->id ? engine_stream_dev(n->engine, row->stream) : &n->home->keys->dev;
    return dev ? member_name(n, dev) : "?";
}

bool is_here(struct node *n, const struct id *root, uint32_t nblocks)
{
    struct place_of at;
    if (!nblocks)
        return true;
    bool here = serve_find(n->index, root, &at) == 0;
    place_of_release(&at);
    return here;
}

/* ---- the versions of a path ---- */

static int add_past(void *arg, const struct ix_entry *row)
{
    struct history *h = arg;
    if (h->nv == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 8;
        h->v = xrealloc(h->v, h->cap, sizeof *h->v);
    }
    struct past *p = &h->v[h->nv++];
    *p = (struct past){.row = *row, .raw = xrealloc(NULL, row->raw.len + 1, 1)};
    memcpy(p->raw, row->raw.p, row->raw.len);
    p->row.raw.p = p->raw;
    int r = entry_decode(p->raw, row->raw.len, &p->ent);
    p->ent.v.dot = (struct dot){*engine_stream_sid(h->n->engine, row->stream), row->seq};
    return r;
}

static int newest_first(const void *a, const void *b)
{
    const struct ix_entry *x = &((const struct past *)a)->row, *y = &((const struct past *)b)->row;
    if (x->hlc != y->hlc)
        return x->hlc < y->hlc ? 1 : -1;
    return (x->id < y->id) - (x->id > y->id);
}

static int load(struct history *h)
{
    int r = index_path_id(h->n->index, h->name, h->len, false, &h->path);
    if (r == 0)
        r = index_path_get(h->n->index, h->path, NULL, &h->winner);
    if (r == 0)
        r = index_entry_each_of_path(h->n->index, h->path, add_past, h);
    if (r == ERR_NOTFOUND || (r == 0 && !h->nv))
        return err_set(ERR_NOTFOUND, "%s: no version of it is known: look at lanyard log for what is", path_show(h->name, h->len));
    return r;
}

bool version_lost(const struct ix_entry *row, const struct entry *ent, int64_t winner, const struct entry *won)
{
    return row->live && row->id != winner && ent->kind != KIND_TOMBSTONE && !entry_same(ent, won);
}

static int load_both(struct history *h, bool kept)
{
    int r = load(h);
    if (r == 0)
        qsort(h->v, h->nv, sizeof *h->v, newest_first);
    if (!kept || !h->path || (r < 0 && r != ERR_NOTFOUND))
        return r;
    int code = kept_load(h);
    return code < 0 ? code : h->nkept ? 0 : r;
}

static int load_history(struct node *n, const struct bytes *path, bool kept, struct history *h)
{
    *h = (struct history){.n = n, .name = xcalloc(path->len + 1, 1), .len = path->len};
    memcpy(h->name, path->p, path->len);
    int r = load_both(h, kept);
    if (r < 0)
        history_release(h);
    return r;
}

int history_load(struct node *n, const struct bytes *path, struct history *h) { return load_history(n, path, false, h); }
int history_load_kept(struct node *n, const struct bytes *path, struct history *h) { return load_history(n, path, true, h); }

int history_load_id(struct node *n, int64_t path, struct history *h)
{
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    int r = index_path_get(n->index, path, &name, NULL);
    return r < 0 ? r : history_load(n, &(struct bytes){name.data, name.len}, h);
}

void history_release(struct history *h)
{
    for (size_t i = 0; i < h->nv; i++) {
        entry_release(&h->v[i].ent);
        free(h->v[i].raw);
    }
    free(h->v);
    free(h->kept);
    free(h->name);
    *h = (struct history){0};
}

int history_need_version(const struct history *h)
{
    return h->nv ? 0 : err_set(ERR_NOTFOUND, "%s: no version of it is known, only what was kept here: say with --version which, as lanyard log "
                               "shows it", path_show(h->name, h->len));
}

const struct past *history_winner(const struct history *h)
{
    for (size_t i = 0; i < h->nv; i++)
        if (h->v[i].row.id == h->winner)
            return &h->v[i];
    return &h->v[0];
}

/* What is there, or was there before it was deleted. */
const struct past *history_latest(const struct history *h)
{
    const struct past *p = history_winner(h);
    for (size_t i = 0; p->ent.kind == KIND_TOMBSTONE && i < h->nv; i++)
        if (h->v[i].ent.kind != KIND_TOMBSTONE)
            p = &h->v[i];
    return p;
}

/* As it was shown at that time: the winner among the versions that had been made by then. NULL when there was none. */
const struct past *history_at(const struct history *h, uint64_t ms)
{
    AUTOFREE const struct version **v = xcalloc(h->nv + 1, sizeof *v);
    const struct past *newest = NULL;
    size_t n = 0;
    for (size_t i = h->nv; i-- > 0;)
        if (hlc_ms(h->v[i].row.hlc) <= ms) {
            newest = &h->v[i];
            v[n++] = &h->v[i].ent.v;
        }
    size_t heads = merge_heads(v, n);
    if (heads == 0)
        return newest;                   /* forged ones, in a circle */
    const struct version *won = v[merge_winner(v, heads)];
    return (const struct past *)((const char *)won - offsetof(struct past, ent.v));
}

bool history_lost(const struct history *h, const struct past *p)
{
    return version_lost(&p->row, &p->ent, h->winner, &history_winner(h)->ent);
}

/* "0123abcd-17", or only "0123abcd" where that is enough. False when it cannot be any version's. */
static bool parse_id(const char *id, size_t *hex, uint64_t *seq)
{
    *hex = strspn(id, "0123456789abcdefABCDEF");
    *seq = 0;
    if (*hex == 0 || *hex >= SID_HEX)
        return false;
    if (!id[*hex])
        return true;
    const char *digits = id + *hex + 1;
    size_t n = strspn(digits, "0123456789");
    if (id[*hex] != '-' || n == 0 || n > 19 || digits[n])
        return false;
    *seq = strtoull(digits, NULL, 10);
    return *seq > 0;
}

static size_t find_version(const struct history *h, const char *id, const struct past **out)
{
    size_t hex, found = 0;
    uint64_t seq;
    bool may_be = parse_id(id, &hex, &seq);
    for (size_t i = 0; may_be && i < h->nv; i++) {
        char sid[SID_HEX];
        sid_hex(engine_stream_sid(h->n->engine, h->v[i].row.stream), sid);
        if ((seq && h->v[i].row.seq != seq) || strncasecmp(sid, id, hex) != 0)
            continue;
        *out = &h->v[i];
        found++;
    }
    return found;
}

int history_find(const struct history *h, const char *id, const struct past **out)
{
    size_t found;
    if (kept_is_id(id))
        *out = kept_find(h, id, &found);
    else
        found = find_version(h, id, out);
    if (found == 1)
        return 0;
    const char *path = path_show(h->name, h->len), *version = path_show(id, strlen(id));
    if (found)
        return err_set(ERR_NOTFOUND, "%s: %zu of its versions begin with %s: give more of it", path, found, version);
    return err_set(ERR_NOTFOUND, "%s: has no version %s: lanyard log shows those it has", path, version);
}

/* ---- changes ---- */

int api_commit(struct node *n, int (*change)(struct node *n, void *arg), void *arg)
{
    int r = engine_begin(n->engine);
    if (r < 0)
        return r;
    r = change(n, arg);
    if (r < 0)
        engine_rollback(n->engine);
    else
        r = engine_commit(n->engine, loop_wall());     /* which rolls back by itself when it fails */
    if (r == 0)
        node_committed(n);
    return r;
}

int need_writer(struct node *n)
{
    const struct member *m = group_find(control_group(n->home->control), &n->home->keys->dev);
    int r = need_member(n);
    if (r < 0 || member_may_write(m))
        return r;
    return err_set(ERR_DENIED, "this device may only read: ask an admin for another role");
}
