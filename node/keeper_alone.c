/* What it is on this device to keep (engine_charge) is packed while it still lies in the folder, for its user may overwrite it in place at any
 * moment, and so may all others, each before they hear of each other. On record they are packed contents whose retention has not begun
 * (KEPT_ALIVE). Once the version has ended it is history like any other.
 *
 * Files that had a version before come first, being worked on, and each time the latest. Those that nobody else has take at most half of the
 * history's share of the disk, by the sizes of the files; those that never had another version at most half of that. Those that others have,
 * too, at most half as much again, and of files that never had another version only small ones: nobody edits an archive. What is so small that
 * it is in its entry is kept only while nobody else has it, lest it goes with the index; it is taken from there. What does not fit is left out. */
#include <stdlib.h>
#include <string.h>

#include "node/keeper_priv.h"
#include "node/log.h"

enum { ROWS = 256, NUMBERS = 1024, SMALL = 16 << 20, PASSES_ANEW = 24 };
#define REVIEW_MS (60u * 60 * 1000)   /* there may be a million of them */

static bool wanted(const struct keeper *k) { return k->c.alone && keeper_days(k) && k->c.share; }

static uint64_t most(const struct keeper *k, bool edited, bool shared)
{
    return wanted(k) ? keeper_share_of_disk(k) / (edited ? 2 : 4) / (shared ? 2 : 1) : 0;
}

/* Of what others have. What is in its entry is in their indexes. */
static bool worth_it(uint64_t size, bool edited) { return size > LIMIT_INLINE && (edited || size <= SMALL); }

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
    k->alone.counting = k->forced || !k->alone.counted || (!light && loop_now() >= k->alone.due);
    k->alone.cursor = INT64_MAX;
    k->alone.sum[0] = k->alone.sum[1] = 0;
}

void keeper_alone_init(struct keeper *k) { k->alone.small_seen = own_known(k); }

/* ---- those there are ---- */

enum fate { FATE_STAYS, FATE_GOES, FATE_HISTORY };
struct verdict { int64_t id; struct id root; enum fate fate; };
struct review { struct keeper *k; struct verdict v[ROWS]; size_t n; };

static int is_before(void *arg, const struct ix_entry *e) { return e->id < *(const int64_t *)arg; }

/* 1: its path had a version before. */
static int is_edited(struct keeper *k, const struct ix_entry *e)
{
    int64_t id = e->id;
    return index_entry_each_of_path(k->c.index, e->path, is_before, &id);
}

/* A content may lie at many paths: whether one of them is ours to keep, and, of the first ones, whether nobody else has one of them. */
struct charge { struct keeper *k; bool ours, alone, edited; unsigned n; };
enum { LOOKED_AT = 64 };

static int look(void *arg, const struct ix_local *l)
{
    struct charge *c = arg;
    struct engine *engine = c->k->c.engine;
    struct ix_entry e;
    int r = index_entry_get(c->k->c.index, l->entry, &e, NULL);
    bool alone = r == 0 && !engine_elsewhere(engine, e.stream, e.seq);
    if (r == 0 && (alone || engine_in_charge(engine, e.stream, e.seq))) {
        c->ours = true;
        c->alone |= alone;
        r = c->edited ? 1 : is_edited(c->k, &e);
        c->edited |= r == 1;
    }
    return r < 0 ? r : c->alone || (c->ours && ++c->n == LOOKED_AT);
}

static bool stays(struct keeper *k, const struct ix_kept *row, const struct charge *c)
{
    uint64_t *sum = &k->alone.sum[!c->alone];
    bool may = c->ours && (c->alone || worth_it(row->size, c->edited)) && *sum + row->size <= most(k, true, !c->alone);
    *sum += may ? row->size : 0;
    return may;
}

static int in_folder(void *arg, const struct ix_local *l) { (void)arg, (void)l; return 1; }
static int ended(void *arg, const struct ix_entry *e) { (void)arg; return !e->live; }

/* A content may be that of several files, and of versions that have ended. */
static int judge(struct keeper *k, const struct ix_kept *row, enum fate *fate)
{
    struct charge c = {.k = k};
    int r = index_local_by_root(k->c.index, &row->root, look, &c);
    *fate = FATE_STAYS;
    if (r < 0 || stays(k, row, &c))
        return r < 0 ? r : 0;
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
    verdict->root = row->root;
    verdict->id = v->k->alone.cursor = row->id;
    return ++v->n == ROWS;
}

struct other { int64_t than; };
static int is_other(void *arg, const struct ix_kept *row) { return row->id != ((const struct other *)arg)->than; }

/* A file that was displaced is on record, too: once is enough. */
static int begin_retention(struct keeper *k, const struct verdict *v, uint64_t wall)
{
    struct other other = {v->id};
    int r = index_kept_by_root(k->c.index, &v->root, is_other, &other);
    if (r == 0)
        return index_kept_since(k->c.index, v->id, wall);
    if (r > 0)
        r = index_kept_del(k->c.index, v->id);
    return r == 0 ? index_kept_renew(k->c.index, &v->root, wall) : r;
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
            r = begin_retention(k, &v->v[i], wall > aged ? wall : aged);
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
    memcpy(k->alone.bytes, k->alone.sum, sizeof k->alone.bytes);
    k->alone.counted = true;
    k->alone.due = loop_now() + REVIEW_MS;
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
    if (r == 0)
        r = engine_kept(k->c.engine, e.path, e.id, &f->root, f->size, "", KEPT_ALIVE);
    return r < 0 ? r : index_kept_fold(k->c.index, &f->root);
}

/* One that cannot be read, or is not what it was, is passed over: what it has become is a version of its own. */
static void note(struct keeper *k, const struct pack_file *f)
{
    if (f->whole) {
        k->alone.bytes[f->shared] += f->size;
        k->alone.stale = true;
    }
    if (f->whole || f->broken[0])
        k->alone.high = f->seq - 1;
}

struct choice { struct pack_job *j; uint64_t left[2]; };

/* What is in its entry need not be read, and can be had even if the file has been written to since. The root of such an entry is the hash of
 * the bytes in it (proto/record.h). */
static int carried(struct keeper *k, const struct ix_entry *e, uint8_t **bytes)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry ent = {0};
    struct ix_entry row;
    int r = e->size > 0 && e->size <= LIMIT_INLINE ? engine_entry(k->c.engine, e->id, &raw, &ent, &row) : ERR_NOTFOUND;
    if (r == 0 && ent.content.type == CONTENT_INLINE) {
        *bytes = xcalloc(ent.content.inline_bytes.len, 1);
        memcpy(*bytes, ent.content.inline_bytes.p, ent.content.inline_bytes.len);
    }
    return r == ERR_NOTFOUND ? 0 : r;
}

static int choose(void *arg, const struct ix_entry *e)
{
    struct choice *c = arg;
    struct keeper *k = c->j->k;
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    struct pack_file f = {.id = e->id, .seq = e->seq, .shared = engine_elsewhere(k->c.engine, e->stream, e->seq), .root = e->root, .size = e->size};
    struct ix_local l;
    if ((e->size > SMALL && k->alone.small) || (f.shared && !worth_it(e->size, k->alone.edited)))
        return 0;
    if (e->size > c->left[f.shared]) {
        k->alone.refused = true;
        return 0;
    }
    int r = index_local_get(k->c.index, e->path, &l);
    if (r == 0)
        r = index_path_get(k->c.index, e->path, &name, NULL);
    if (r == 0)
        r = carried(k, e, &f.bytes);
    if (r < 0)
        return r;
    f.stamp = l.stamp;
    f.path = (char *)buf_steal(&name, &f.len);
    c->left[f.shared] -= e->size;
    return keeper_pack_add(c->j, &f);
}

static bool behind(const struct own_number *a, const struct own_range *r) { return r->stream < a->stream; }

/* Nothing is added to what devices have left that are gone: it is looked at when there is another one, and now and then. */
static void add_left(struct keeper *k, bool anew)
{
    struct alone *a = &k->alone;
    size_t n = engine_charge(k->c.engine, false, a->range + a->n, ALONE_STREAMS - a->n);
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
    a->n = engine_charge(k->c.engine, true, a->range, ALONE_STREAMS);
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

static uint64_t room(const struct keeper *k, bool shared)
{
    uint64_t limit = most(k, k->alone.edited, shared), taken = k->alone.bytes[shared];
    return limit > taken ? limit - taken : 0;
}

static enum step_result pack_some(struct keeper *k, const struct own_range *range)
{
    struct alone *a = &k->alone;
    uint64_t low = a->high - range->from < NUMBERS ? range->from : a->high - NUMBERS + 1;
    struct choice c = {keeper_pack_new(k), {room(k, false), room(k, true)}};
    c.j->record = record;
    c.j->note = note;
    c.j->partly = &a->partly;
    int r = index_entry_unkept(k->c.index, range->stream, low, a->high, a->edited, choose, &c);
    bool fits = r < 0 || c.j->n == 0 || keeper_pack_room(c.j) == 0;
    if (!fits)
        log_seldom(LOG_WARN, "what this device is to keep is not kept before it is overwritten why=\"%s\"", err_text());
    if (r >= 0 && c.j->n && fits)
        return keeper_pack_submit(c.j);
    keeper_pack_free(c.j);
    a->high = low - 1;
    return r < 0 ? keeper_fail(k, err_text()) : fits ? STEP_AGAIN : sweep_over(a);
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
