/* What only this disk has is packed while it still lies in the folder, for its user may overwrite it in place at any moment: contents of own
 * versions, or of those of devices that are gone, that no other member has said to have (engine_alone). On record they are packed contents whose retention has not begun
 * (KEPT_ALIVE). Once another member has such a content it need not be here twice; once the version has ended it is history like any other.
 *
 * Files that had a version before come first, being worked on, and each time the latest. All of them take at most half of the history's
 * share of the disk, by the sizes of the files; those that never had another version at most half of that. What does not fit is left out. */
#include <stdlib.h>

#include "node/keeper_priv.h"
#include "node/log.h"

enum { ROWS = 256, NUMBERS = 1024, SMALL = 16 << 20, PASSES_ANEW = 24 };

static bool wanted(const struct keeper *k) { return k->c.alone && keeper_days(k) && k->c.share; }

static uint64_t most(const struct keeper *k, bool edited)
{
    return wanted(k) ? keeper_share_of_disk(k) / (edited ? 2 : 4) : 0;
}

static uint64_t own_known(const struct keeper *k)
{
    const struct sid *own = engine_own_sid(k->c.engine);
    return own ? engine_known_of(k->c.engine, own) : 0;
}

bool keeper_alone_waiting(const struct keeper *k, bool small)
{
    return wanted(k) && own_known(k) != (small ? k->alone.small_seen : k->alone.seen);
}

void keeper_alone_begin(struct keeper *k, bool light)
{
    k->alone.sweeping = false;
    k->alone.counting = !light || !k->alone.counted;
    k->alone.cursor = INT64_MAX;
    k->alone.sum = 0;
}

void keeper_alone_init(struct keeper *k) { k->alone.small_seen = own_known(k); }

/* ---- those there are ---- */

enum fate { FATE_STAYS, FATE_GOES, FATE_HISTORY };
struct verdict { int64_t id; enum fate fate; };
struct review { struct keeper *k; struct verdict v[ROWS]; size_t n; };

static int only_here(void *arg, const struct ix_local *l)
{
    const struct keeper *k = arg;
    struct ix_entry e;
    int r = index_entry_get(k->c.index, l->entry, &e, NULL);
    return r < 0 ? r : !engine_elsewhere(k->c.engine, e.stream, e.seq);
}

static int in_folder(void *arg, const struct ix_local *l) { (void)arg, (void)l; return 1; }
static int ended(void *arg, const struct ix_entry *e) { (void)arg; return !e->live; }

/* A content may be that of several files, and of versions that have ended. */
static int judge(struct keeper *k, const struct ix_kept *row, enum fate *fate)
{
    int r = index_local_by_root(k->c.index, &row->root, only_here, k);
    *fate = FATE_STAYS;
    if (r == 1 && k->alone.sum + row->size <= most(k, true)) {
        k->alone.sum += row->size;
        return 0;
    }
    if (r >= 0)
        r = index_local_by_root(k->c.index, &row->root, in_folder, NULL);
    bool lies_there = r == 1;
    if (r >= 0)
        r = index_entry_by_root(k->c.index, &row->root, ended, NULL);
    *fate = lies_there && r == 0 ? FATE_GOES : FATE_HISTORY;
    return r < 0 ? r : 0;
}

static int review(void *arg, const struct ix_kept *row)
{
    struct review *v = arg;
    struct verdict *verdict = &v->v[v->n];
    int r = judge(v->k, row, &verdict->fate);
    if (r < 0)
        return r;
    verdict->id = v->k->alone.cursor = row->id;
    return ++v->n == ROWS;
}

static int carry_out(struct review *v)
{
    struct keeper *k = v->k;
    uint64_t wall = loop_wall(), aged = engine_aged(k->c.engine);
    size_t stay = 0;
    for (size_t i = 0; i < v->n; i++)
        stay += v->v[i].fate == FATE_STAYS;
    if (stay == v->n)
        return 0;
    int r = engine_begin(k->c.engine);
    for (size_t i = 0; r == 0 && i < v->n; i++) {
        if (v->v[i].fate == FATE_GOES)
            r = index_kept_del(k->c.index, v->v[i].id);
        else if (v->v[i].fate == FATE_HISTORY)
            r = index_kept_since(k->c.index, v->v[i].id, wall > aged ? wall : aged);
        k->dirty |= v->v[i].fate == FATE_GOES;
    }
    return keeper_commit(k, r);
}

enum step_result keeper_alone_review(struct keeper *k)
{
    struct review v = {.k = k};
    if (!k->alone.counting)
        return STEP_OVER;
    int r = index_kept_alive(k->c.index, k->alone.cursor, review, &v);
    if (r < 0 || carry_out(&v) < 0)
        return keeper_fail(k, err_text());
    if (r == 1)
        return STEP_AGAIN;
    k->alone.bytes = k->alone.sum;
    k->alone.counted = true;
    k->alone.stale = false;
    k->alone.counting = false;
    return STEP_OVER;
}

/* ---- new ones ---- */

static int record(struct keeper *k, const struct pack_file *f)
{
    struct ix_entry e;
    int r = index_kept_by_root(k->c.index, &f->root, keeper_any_kept, NULL);
    if (r != 0)
        return r < 0 ? r : 0;           /* two files of one content */
    r = index_entry_get(k->c.index, f->id, &e, NULL);
    if (r == ERR_NOTFOUND)
        return 0;
    return r < 0 ? r : engine_kept(k->c.engine, e.path, e.id, &f->root, f->size, "", KEPT_ALIVE);
}

/* One that cannot be read, or is not what it was, is passed over: what it has become is a version of its own. */
static void note(struct keeper *k, const struct pack_file *f)
{
    if (f->whole) {
        k->alone.bytes += f->size;
        k->alone.stale = true;
    }
    if (f->whole || f->broken[0])
        k->alone.high = f->seq - 1;
}

struct choice { struct pack_job *j; uint64_t left; };

static int choose(void *arg, const struct ix_entry *e)
{
    struct choice *c = arg;
    struct keeper *k = c->j->k;
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    struct pack_file f = {.id = e->id, .seq = e->seq, .root = e->root, .size = e->size};
    struct ix_local l;
    if (k->alone.small && e->size > SMALL)
        return 0;
    if (e->size > c->left) {
        k->alone.refused = true;
        return 0;
    }
    int r = index_local_get(k->c.index, e->path, &l);
    if (r == 0)
        r = index_path_get(k->c.index, e->path, &name, NULL);
    if (r < 0)
        return r;
    f.stamp = l.stamp;
    f.path = (char *)buf_steal(&name, &f.len);
    c->left -= e->size;
    return keeper_pack_add(c->j, &f);
}

static bool behind(const struct own_number *a, const struct own_range *r) { return r->stream < a->stream; }

/* Nothing is added to what devices have left that are gone: it is looked at when there is another one, and now and then. */
static void add_left(struct keeper *k, bool anew)
{
    struct alone *a = &k->alone;
    size_t n = engine_alone_left(k->c.engine, a->range + a->n, ALONE_STREAMS - a->n);
    if (anew || n != a->nleft)
        a->n += n;
    a->nleft = n;
}

/* What has been looked at before need not be again. */
static void begin_sweep(struct keeper *k)
{
    struct alone *a = &k->alone;
    bool anew = !k->light && (k->forced || k->passes % PASSES_ANEW == 0);
    a->small = k->light && !keeper_is_idle(k);
    struct own_number from = anew ? (struct own_number){0} : a->small ? a->small_to : a->all_to;
    a->n = engine_alone(k->c.engine, a->range, ALONE_STREAMS);
    a->top = a->n ? (struct own_number){a->range[0].stream, a->range[0].to} : from;
    while (a->n && behind(&from, &a->range[a->n - 1]))
        a->n--;
    if (a->n && a->range[a->n - 1].stream == from.stream && a->range[a->n - 1].from <= from.number)
        a->range[a->n - 1].from = from.number + 1;
    if (!k->light)
        add_left(k, anew);
    a->small_seen = own_known(k);
    if (!a->small)
        a->seen = a->small_seen;
    a->at = 0;
    a->high = a->n ? a->range[0].to : 0;
    a->edited = a->sweeping = true;
    a->refused = false;
}

/* What found no room is looked at again if there may be more by now than was thought. */
static enum step_result sweep_over(struct alone *a)
{
    a->sweeping = false;
    if (a->refused && a->stale) {
        a->counted = false;
        a->seen = a->small_seen = UINT64_MAX;
        return STEP_OVER;
    }
    a->small_to = a->top;
    if (!a->small)
        a->all_to = a->top;
    return STEP_OVER;
}

/* To the next range, and behind the last one from the first one on, now for files of any kind. */
static enum step_result next_range(struct alone *a)
{
    if (a->at < a->n)
        a->at++;
    if (a->at >= a->n && !a->edited)
        return sweep_over(a);
    if (a->at >= a->n) {
        a->at = 0;
        a->edited = false;
    }
    a->high = a->n ? a->range[a->at].to : 0;
    return a->n ? STEP_AGAIN : sweep_over(a);
}

static enum step_result pack_some(struct keeper *k, const struct own_range *range)
{
    struct alone *a = &k->alone;
    uint64_t low = a->high - range->from < NUMBERS ? range->from : a->high - NUMBERS + 1, limit = most(k, a->edited);
    struct choice c = {keeper_pack_new(k), limit > a->bytes ? limit - a->bytes : 0};
    c.j->record = record;
    c.j->note = note;
    c.j->partly = &a->partly;
    int r = index_entry_unkept(k->c.index, range->stream, low, a->high, a->edited, choose, &c);
    bool room = r < 0 || c.j->n == 0 || keeper_pack_room(c.j) == 0;
    if (!room)
        log_seldom(LOG_WARN, "what only this device has is not kept before it is overwritten why=\"%s\"", err_text());
    if (r >= 0 && c.j->n && room)
        return keeper_pack_submit(c.j);
    keeper_pack_free(c.j);
    a->high = low - 1;
    return r < 0 ? keeper_fail(k, err_text()) : room ? STEP_AGAIN : sweep_over(a);
}

enum step_result keeper_alone(struct keeper *k)
{
    struct alone *a = &k->alone;
    if (k->failure[0])
        return STEP_FAILED;
    if (!wanted(k))
        return STEP_OVER;
    if (!a->sweeping)
        begin_sweep(k);
    if (a->at >= a->n || a->high < a->range[a->at].from)
        return next_range(a);
    return pack_some(k, &a->range[a->at]);
}
