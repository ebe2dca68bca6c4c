/* Cuts: where the streams of devices end that may write no more (proto/group.h). The control log alone says so, and this file brings the
 * index in line with it whenever it has changed: also back, when a revocation lost against another chain. A stream of such a device has a
 * cut for good; what it writes when it may again is in a new one. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_priv.h"

static int first_header(void *arg, const struct ix_header *row)
{
    int r = header_decode(row->rec.p, row->rec.len, row->sig, arg);
    return r < 0 ? r : 1;
}

/* What the device knew of the control log when it began the stream, if that matters. One of which nothing is here yet begins now. */
static int began(struct engine *e, const struct stream *s, uint64_t *ctl_n)
{
    const struct member *m = group_find(e->c.group, &s->row.dev);
    struct header h = {.ctl_n = e->c.group->ctl_n};
    int r = m && m->since ? index_header_each(e->c.index, s->row.id, 1, 1, first_header, &h) : 0;
    *ctl_n = h.ctl_n;
    return r < 0 ? r : 0;
}

int cut_measure(struct engine *e, struct stream *s)
{
    uint64_t ctl_n;
    int r = began(e, s, &ctl_n);
    if (r == 0)
        s->end = group_end(e->c.group, &s->row.dev, &s->row.sid, ctl_n);
    return r;
}

uint64_t engine_end(const struct engine *e, const struct sid *sid)
{
    const struct stream *s = engine_stream_by_sid((struct engine *)e, sid);
    uint64_t end = fork_end(e, sid);
    return s && s->end < end ? s->end : end;
}

bool cut_allows(struct engine *e, const struct header *h)
{
    const struct stream *s = engine_stream_by_sid(e, &h->sid);
    uint64_t ctl_n = h->ctl_n;
    if (s && s->row.known && began(e, s, &ctl_n) < 0)
        return false;
    return h->first + h->count - 1 <= group_end(e->c.group, &h->dev, &h->sid, ctl_n);
}

/* A stream without a cut needs none to vouch for it. */
bool cut_vouches(struct engine *e, const struct stream *s)
{
    AUTO(tip_release) struct tip at = {.found = false};
    const struct cut *c = group_cut(e->c.group, &s->row.dev, &s->row.sid);
    if (!c)
        return s->end == UINT64_MAX;
    return c->seq && c->seq <= s->row.known && fork_header_at(e, s, c->seq, &at) == 0 && at.found && id_eq(&at.hash, &c->hdr_hash);
}

/* ---- beyond the end ---- */

/* Change sets count whole or not at all. */
static int whole(struct engine *e, const struct stream *s, uint64_t *end)
{
    AUTO(tip_release) struct tip next = {.found = false};
    int r = fork_header_at(e, s, *end + 1, &next);
    if (r == 0 && next.found && next.first <= *end)
        *end = next.first - 1;
    return r;
}

static int cut_back(struct engine *e, struct stream *s, uint64_t end, uint64_t wall_ms)
{
    bool own = id_eq(&s->row.dev, &e->c.keys->dev);
    int r = whole(e, s, &end);
    return r == 0 && end < s->row.known ? withdraw_beyond(e, s, end, own && may_write(e) ? AGAIN_OVER : AGAIN_NOTHING, wall_ms) : r;
}

/* ---- what counts again ---- */

struct again { struct engine *e; struct stream *s; uint64_t end; int64_t *path; size_t n, cap; };

static int follows(void *arg, const struct ix_header *row)
{
    struct again *a = arg;
    struct header h;
    int r = header_decode(row->rec.p, row->rec.len, row->sig, &h);
    if (r < 0)
        return r;
    uint64_t last = h.first + h.count - 1;
    if (memcmp(h.inc, a->s->row.inc, sizeof h.inc) != 0 || h.first != a->s->row.known + 1 || !id_eq(&h.prev, &a->s->row.tip) || last > a->end)
        return 1;
    a->s->row.known = last;
    a->s->row.tip = h.hash;
    return 0;
}

static int note(void *arg, const struct ix_entry *row)
{
    struct again *a = arg;
    if (a->n == a->cap) {
        a->cap = a->cap ? 2 * a->cap : 64;
        a->path = xrealloc(a->path, a->cap, sizeof *a->path);
    }
    a->path[a->n++] = row->path;
    return index_want_del(a->e->c.index, row->id);       /* it may have been about to go from this disk */
}

/* What was withdrawn before, or as much of it as goes on with what counts. */
static int take_again(struct engine *e, struct stream *s, uint64_t end)
{
    struct again a = {.e = e, .s = s, .end = end};
    uint64_t known = s->row.known;
    int r = index_header_each(e->c.index, s->row.id, known + 1, end, follows, &a);
    if (r < 0 || s->row.known == known)
        return r < 0 ? r : 0;
    r = index_entry_each_of_stream(e->c.index, s->row.id, known + 1, s->row.known, note, &a);
    for (size_t i = 0; r == 0 && i < a.n; i++)
        r = state_update(e, a.path[i]);
    free(a.path);
    snapshots_changed(e, NULL);
    return r < 0 ? r : (r = index_stream_set(e->c.index, &s->row)) < 0 ? r : 1;
}

/* ---- all streams ---- */

static int bring_in_line(struct engine *e, struct stream *s, uint64_t wall_ms)
{
    uint64_t end = engine_end(e, &s->row.sid), known = s->row.known;
    int r = end < known ? cut_back(e, s, end, wall_ms) : take_again(e, s, end);
    return r < 0 ? r : s->row.known != known;
}

bool engine_belongs(const struct engine *e)
{
    const struct member *m = group_find(e->c.group, &e->c.keys->dev);
    return m && !m->revoked;
}

/* What is written from now on must go into another stream: the present one ends, or nothing is known of it. The latter may be because it is
 * that of a backup, and what was written to it since does not count, so that no peer tells of it. Who has seen that does not take another
 * history under the same name. */
static bool needs_another_stream(const struct engine *e)
{
    const struct member *m = group_find(e->c.group, &e->c.keys->dev);
    const struct stream *own = e->own ? engine_stream((struct engine *)e, e->own) : NULL;
    return own ? own->end != UINT64_MAX : m->since > 0;
}

/* All ends first: what is signed again is to go into a stream that has none. */
int engine_cuts(struct engine *e, uint64_t wall_ms)
{
    assert(index_in_tx(e->c.index) && e->lens.n == 0);
    int r = 0, changed = 0;
    if (!engine_belongs(e))
        return 0;
    size_t n = e->nstream;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = cut_measure(e, e->stream[i]);
    if (r == 0 && needs_another_stream(e))
        engine_begin_incarnation(e);
    for (size_t i = 0; r >= 0 && i < n; i++) {
        r = bring_in_line(e, e->stream[i], wall_ms);
        changed += r > 0;
    }
    return r < 0 ? r : changed;
}
