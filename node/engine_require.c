/* A required version (docs/PROTOCOL.md "A required version") where it is no matter of a lock: which of concurrent versions wins, and what a new
 * one names. */
#include <stdlib.h>
#include <string.h>

#include "node/engine_priv.h"

#define KEY_MERGED "required"         /* e->merged */

/* ---- winners ---- */

struct contested { int64_t *path; size_t n, cap; };
static int note(void *arg, int64_t path)
{
    struct contested *c = arg;
    if (c->n == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 64;
        c->path = xrealloc(c->path, c->cap, sizeof *c->path);
    }
    c->path[c->n++] = path;
    return 0;
}

int engine_load_winners(struct engine *e)
{
    return engine_load_value(e, KEY_MERGED, e->merged, sizeof e->merged);
}

static void decider(const struct group *g, uint8_t by[static 16])
{
    memset(by, 0, 16);
    if (g->nrequirement)
        memcpy(by, g->requirement[g->nrequirement - 1].what->id, 16);
}

bool engine_winners_due(const struct engine *e)
{
    uint8_t by[sizeof e->merged];
    decider(e->c.group, by);
    return memcmp(e->merged, by, sizeof by) != 0;
}

void engine_winners_chosen(struct engine *e) { decider(e->c.group, e->merged); }

int engine_choose_winners(struct engine *e)
{
    struct contested c = {0};
    uint8_t by[sizeof e->merged];
    decider(e->c.group, by);
    int r = index_entry_contested(e->c.index, note, &c);
    for (size_t i = 0; r == 0 && i < c.n; i++)
        r = state_update(e, c.path[i]);
    free(c.path);
    snapshots_changed(e, NULL);          /* of several of one name another one may be meant */
    if (r == 0)
        r = index_kv_put(e->c.index, KEY_MERGED, by, sizeof by);
    return r;
}

/* ---- proving one ---- */

bool engine_provable(const struct engine *e, const struct required *q)
{
    for (size_t i = 0; i < q->nmin; i++)
        if (engine_end(e, &q->min[i].sid) < q->min[i].seq)
            return false;
    return true;
}

/* ---- declaring one ---- */

static int by_sid(const void *a, const void *b)
{
    return sid_cmp(&((const struct cut *)a)->sid, &((const struct cut *)b)->sid);
}

/* The last change set that is here whole. */
static int whole_until(struct engine *e, const struct stream *s, struct cut *c)
{
    AUTO(tip_release) struct tip t = {.rec = BUF_INIT(1024)};
    uint64_t content = engine_content_here(e, &s->row.sid);
    *c = (struct cut){s->row.sid, content, s->row.tip};
    if (content == 0 || content == s->row.known)
        return 0;
    int r = fork_header_at(e, s, content + 1, &t);
    if (r < 0 || !t.found)
        return r < 0 ? r : err_set(ERR_CORRUPT, "index: an entry is in no change set");
    struct header h;
    r = header_decode(t.rec.data, t.rec.len, t.sig, &h);
    c->seq = h.first - 1;
    c->hdr_hash = h.prev;
    return r;
}

int engine_required_min(struct engine *e, struct buf *out)
{
    AUTOFREE struct cut *cut = xcalloc(e->nstream + 1, sizeof *cut);
    size_t n = 0;
    for (size_t i = 0; i < e->nstream; i++) {
        int r = whole_until(e, e->stream[i], &cut[n]);
        if (r < 0)
            return r;
        n += cut[n].seq > 0;
    }
    qsort(cut, n, sizeof *cut, by_sid);
    mp_put_array(out, n);
    for (size_t i = 0; i < n; i++)
        cut_put(out, &cut[i]);
    return buf_ok(out) ? 0 : err_set(ERR_FULL, "what this device has is in too many streams for one record");
}
