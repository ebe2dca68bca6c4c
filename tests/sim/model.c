/* What a version truly supersedes, known from how it came about and not from its context: an edit the version that was on disk and
 * all that this one superseded; a delete of what was shown, and a settled conflict, everything their author knew to be there. */
#include <string.h>

#include "proto/merkle.h"
#include "tests/sim/sim.h"

static bool has(const uint64_t *set, size_t i) { return set[i / 64] >> (i % 64) & 1; }
static void add(uint64_t *set, size_t i) { set[i / 64] |= 1ull << (i % 64); }

static bool dots_equal(const struct dot *a, const struct dot *b) { return a->seq == b->seq && sid_eq(&a->sid, &b->sid); }

static bool same_name(const struct version_of *v, const struct name *n) { return dots_equal(&v->dot, &n->dot) && id_eq(&v->raw, &n->raw); }

size_t model_find(const struct world *w, const struct name *name)
{
    size_t i = 0;
    while (i < w->model.n && !same_name(&w->model.v[i], name))
        i++;
    return i;
}

void model_forget(struct world *w, int device)
{
    for (size_t i = 0; i < w->model.n; i++) {
        struct version_of *v = &w->model.v[i];
        if (v->author == device && !model_has(w, device, v, true))
            v->forgotten = true;
    }
}

/* What is being authored now is known to its author, too. */
bool model_knows(const struct world *w, int device, const struct version_of *v)
{
    const struct device *d = &w->d[device];
    if (v->author == device && index_in_tx(d->index) && (size_t)(v - w->model.v) >= d->mark)
        return true;
    return engine_known_of(d->engine, &v->dot.sid) >= v->dot.seq && (!v->ambiguous || model_has(w, device, v, true));
}

static int is_told(void *arg, const struct ix_pruned *p)
{
    (void)arg;
    return !p->own;
}

/* The device was told that it is long dead. That may be a lie, so it does not count there as long as the device believes it. */
static bool is_hidden(const struct world *w, int device, const struct version_of *v)
{
    const struct stream *s = engine_stream_by_sid(w->d[device].engine, &v->dot.sid);
    return w->faults.lies && s && index_pruned_each(w->d[device].index, s->row.id, v->dot.seq, v->dot.seq, is_told, NULL) == 1;
}

/* Nobody has it any more: the liar, or who believed him, was the last to tell it to those who lost their index. */
static bool is_nowhere(const struct world *w, const struct version_of *v)
{
    if (!w->faults.lies || !(w->faults.index_lost || w->faults.index_restored || w->faults.all_restored || w->faults.twins))
        return false;
    for (int i = 0; i < w->n; i++)
        if (model_has(w, i, v, false))
            return false;
    return true;
}

struct view { size_t v[VERSIONS_MAX]; size_t n; };

/* What counts in a view of one path: for what a device does, whatever it believes; in the judgement, whatever can be had. */
static bool counts(const struct world *w, int device, const struct version_of *v, bool judged)
{
    return model_knows(w, device, v) && !(judged ? is_nowhere(w, v) : is_hidden(w, device, v));
}

/* Versions of the path that count, and no version that counts supersedes. */
static void heads_of(const struct world *w, int device, int path, bool judged, struct view *out)
{
    const struct model *m = &w->model;
    uint64_t dead[VERSIONS_MAX / 64] = {0};
    out->n = 0;
    for (size_t i = 0; i < m->n; i++)
        if (m->v[i].path == path && counts(w, device, &m->v[i], judged))
            for (size_t k = 0; k < VERSIONS_MAX / 64; k++)
                dead[k] |= m->v[i].supersedes[k];
    for (size_t i = 0; i < m->n; i++)
        if (m->v[i].path == path && !has(dead, i) && counts(w, device, &m->v[i], judged))
            out->v[out->n++] = i;
}

static void heads_at(const struct world *w, int device, int path, struct view *out) { heads_of(w, device, path, false, out); }

bool model_beats(const struct group *g, const struct version_of *a, const struct version_of *b)
{
    bool required = group_requires(g, &a->dot);
    if ((a->kind == KIND_TOMBSTONE) != (b->kind == KIND_TOMBSTONE))
        return b->kind == KIND_TOMBSTONE;
    if ((a->kind == KIND_DIR) != (b->kind == KIND_DIR))
        return a->kind == KIND_DIR;
    if (required != group_requires(g, &b->dot))
        return required;
    if (a->hlc != b->hlc)
        return a->hlc > b->hlc;
    int c = sid_cmp(&a->dot.sid, &b->dot.sid);
    return c ? c > 0 : a->dot.seq > b->dot.seq;
}

static const struct version_of *winner_of(const struct world *w, int device, const struct view *heads)
{
    const struct version_of *best = NULL;
    for (size_t i = 0; i < heads->n; i++) {
        const struct version_of *v = &w->model.v[heads->v[i]];
        if (!best || model_beats(&w->d[device].group, v, best))
            best = v;
    }
    return best;
}

bool model_ambiguous(const struct world *w, int device, int path)
{
    for (size_t i = 0; i < w->model.n; i++)
        if (w->model.v[i].path == path && w->model.v[i].ambiguous && model_knows(w, device, &w->model.v[i]))
            return true;
    return false;
}

bool model_winner_is(struct world *w, int device, int path, const struct name *name)
{
    struct view heads;
    heads_at(w, device, path, &heads);
    const struct version_of *v = winner_of(w, device, &heads);
    return v && same_name(v, name);
}

static int first_id(void *arg, const struct ix_entry *row)
{
    *(int64_t *)arg = row->id;
    return 1;
}

/* Each note has a path of its own: it is the last that was authored. */
static int64_t newest_of(struct world *w, int device, int path)
{
    struct device *d = &w->d[device];
    struct ix_entry row;
    int64_t id, newest = 0;
    if (path == NOTES) {
        MUST(index_entry_at(d->index, d->engine->own, d->engine->authored_first + d->engine->lens.n - 1, &row, NULL));
        return row.id;
    }
    MUST(index_path_id(d->index, path_name[path], strlen(path_name[path]), false, &id));
    MUST(index_entry_each_of_path(d->index, id, first_id, &newest));
    return newest;
}

static void describe(struct world *w, int device, int path, struct version_of *v)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry ent = {0};
    struct ix_entry row;
    MUST(engine_entry(w->d[device].engine, newest_of(w, device, path), &raw, &ent, &row));
    *v = (struct version_of){.dot = ent.v.dot, .raw = id_hash(raw.data, raw.len), .leaf = merkle_leaf(raw.data, raw.len),
                             .batch = w->batch, .author = device, .path = path, .kind = ent.kind, .mode = ent.mode, .hlc = ent.v.hlc};
    if (ent.content.type != CONTENT_NONE)
        v->content = content_by_root(w, &ent.content.root);
}

static void inherit(struct world *w, struct version_of *v, size_t from, bool itself)
{
    if (itself)
        add(v->supersedes, from);
    for (size_t k = 0; k < VERSIONS_MAX / 64; k++)
        v->supersedes[k] |= w->model.v[from].supersedes[k];
}

/* A file made where a deletion was applied descends from that deletion. */
static void inherit_deletion(struct world *w, int device, struct version_of *v, const struct view *heads)
{
    const struct version_of *best = winner_of(w, device, heads);
    if (best && best->kind == KIND_TOMBSTONE)
        inherit(w, v, (size_t)(best - w->model.v), true);
}

/* Only by who does not know any more that it has written it, or by its twin, may a number be used again. */
static void check_number(struct world *w, int device, const struct version_of *v)
{
    const struct device *d = &w->d[device];
    if (d->warned && sid_eq(&d->of, &v->dot.sid))
        fail(w, "d%d: goes on with a stream of which its peers know more than it does", device);
    for (size_t i = 0; i < w->model.n; i++) {
        const struct version_of *o = &w->model.v[i];
        if (dots_equal(&o->dot, &v->dot) && o->author == device && !o->forgotten)
            fail(w, "d%d: number %llu of a stream is used twice: %s and %s", device, (unsigned long long)v->dot.seq, path_name[o->path],
                 path_name[v->path]);
    }
}

static void note_split(struct world *w, const struct dot *d)
{
    size_t i = 0;
    while (i < w->nsplit && !sid_eq(&w->split[i].sid, &d->sid))
        i++;
    if (i == SPLITS_MAX)
        fail(w, "more streams with two histories than there is room for");
    if (i == w->nsplit)
        w->split[w->nsplit++] = *d;
    else if (d->seq > w->split[i].seq)
        w->split[i].seq = d->seq;
}

void model_add(struct world *w, int device, int path, enum based_on how, const struct name *base)
{
    struct model *m = &w->model;
    struct view heads;
    if (m->n == VERSIONS_MAX)
        fail(w, "more versions than the model has room for");
    heads_at(w, device, path, &heads);
    struct version_of v;
    describe(w, device, path, &v);
    check_number(w, device, &v);
    for (size_t i = 0; i < m->n; i++) {
        struct version_of *o = &m->v[i];
        if (dots_equal(&o->dot, &v.dot)) {
            note_split(w, &v.dot);
            if (id_eq(&o->raw, &v.raw))
                return;                  /* word for word the same version, under another header */
            o->ambiguous = v.ambiguous = true;
        }
        bool again = how == IN_PLACE_OF || how == OVER_ITSELF;
        if ((how == ON_DISK || again) && o->path == path && same_name(o, base))
            inherit(w, &v, i, how != IN_PLACE_OF);
        if (again && same_name(o, base))
            v.again = i + 1;
        if (how == DEAD_ALREADY && o->path == path && dots_equal(&o->dot, &base->dot))
            inherit(w, &v, i, true);
    }
    if (how == ON_ALL_HEADS)
        for (size_t i = 0; i < heads.n; i++)
            inherit(w, &v, heads.v[i], true);
    if (how == ON_NOTHING && base)
        inherit_deletion(w, device, &v, &heads);
    tell(w, "d%d: version %zu of %s: kind %d content %u (%02x%02x.. %llu)%s", device, m->n, path_name[path], v.kind, v.content,
         v.dot.sid.b[0], v.dot.sid.b[1], (unsigned long long)v.dot.seq, v.again ? ", again" : "");
    m->v[m->n++] = v;
}

/* ---- the last judgement ---- */

bool content_is_somewhere(const struct world *w, uint32_t content)
{
    for (int i = 0; i < w->n; i++)
        if (disk_has_content(&w->d[i].disk, content))
            return true;
    return false;
}

/* Its stream has two histories, or was cut, or it was dated in the future, and it lies beyond what counts. */
static bool has_ended(const struct world *w, const struct version_of *v)
{
    for (int i = 0; i < w->n; i++)
        if (engine_end(w->d[i].engine, &v->dot.sid) < v->dot.seq)
            return true;
    return false;
}

/* Everybody knows it, or nobody does: which only one can bring about who lost his index before he could announce it. */
bool everybody_knows(struct world *w, const struct version_of *v)
{
    int n = 0;
    for (int i = 0; i < w->n; i++)
        n += model_knows(w, i, v);
    if (n != w->n && (n != 0 || !(w->d[v->author].lost_index || has_ended(w, v)))) {
        for (int i = 0; i < w->n; i++)
            tell(w, "d%d: knows up to %llu of it, which ends at %lld", i, (unsigned long long)engine_known_of(w->d[i].engine, &v->dot.sid),
                 (long long)fork_end(w->d[i].engine, &v->dot.sid));
        fail(w, "%d of %d know number %llu of d%d, %s", n, w->n, (unsigned long long)v->dot.seq, v->author, path_name[v->path]);
    }
    return n == w->n;
}

/* Only of a stream in which a number behind it was used twice; or in which its device, whose clock was turned back, dated
 * something in the future. And nobody knows anything beyond. */
static void judge_end(struct world *w, int i, const struct end *t)
{
    bool good = false;
    for (size_t k = 0; k < w->nsplit; k++)
        good |= sid_eq(&w->split[k].sid, &t->sid) && t->end < w->split[k].seq;
    for (int k = 0; k < w->n; k++) {
        good |= w->d[k].turned_back && id_eq(&w->d[k].keys->dev, &t->dev);
        if (engine_known_of(w->d[k].engine, &t->sid) > t->end)
            fail(w, "d%d: knows more of a stream than counts, says d%d", k, i);
    }
    if (!good)
        fail(w, "d%d: a stream that has one history ends at %llu", i, (unsigned long long)t->end);
}

/* Where deletions are forgotten, each device has others still. And one whose number was used twice is dead by the context of who has seen
 * the other one of that number, as long as nobody can prove that there are two: it would not be shown anyway. */
static bool may_be_missing(const struct world *w, const struct version_of *v)
{
    return v->kind == KIND_TOMBSTONE && (w->faults.forget || v->ambiguous);
}

struct live { struct world *w; int device; size_t n; const struct view *heads; };
static int check_live(void *arg, const struct ix_entry *row)
{
    struct live *l = arg;
    struct world *w = l->w;
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry ent = {0};
    struct ix_entry again;
    if (!row->live || (w->faults.forget && row->kind == KIND_TOMBSTONE))
        return 0;
    MUST(engine_entry(w->d[l->device].engine, row->id, &raw, &ent, &again));
    size_t this = model_find(w, &(struct name){ent.v.dot, id_hash(raw.data, raw.len)});
    if (this < w->model.n && may_be_missing(w, &w->model.v[this]))
        return 0;
    for (size_t i = 0; i < l->heads->n; i++)
        if (dots_equal(&w->model.v[l->heads->v[i]].dot, &ent.v.dot)) {
            l->n++;
            return 0;
        }
    for (size_t i = 0; i < w->model.n; i++)
        if (dots_equal(&w->model.v[i].dot, &ent.v.dot))
            for (size_t k = 0; k < w->model.n; k++)
                if (has(w->model.v[k].supersedes, i))
                    tell(w, "version %zu is dead because of %zu (%sknown)", i, k, model_knows(w, l->device, &w->model.v[k]) ? "" : "un");
    fail(w, "d%d: shows a dead version of %.*s", l->device, (int)ent.path.len, (const char *)ent.path.p);
}

static void judge_path(struct world *w, int i, int path, const struct view *heads)
{
    struct device *d = &w->d[i];
    int64_t id, winner;
    if (index_path_id(d->index, path_name[path], strlen(path_name[path]), false, &id) < 0) {
        if (heads->n)
            fail(w, "d%d: knows nothing of %s", i, path_name[path]);
        return;
    }
    struct live l = {w, i, 0, heads};
    MUST(index_entry_each_of_path(d->index, id, check_live, &l));
    if (l.n != heads->n)
        for (size_t k = 0; k < heads->n; k++) {
            const struct version_of *v = &w->model.v[heads->v[k]];
            tell(w, "should live: version %zu (%02x%02x.. %llu) %s", heads->v[k], v->dot.sid.b[0], v->dot.sid.b[1], (unsigned long long)v->dot.seq, v->ambiguous ? "ambiguous" : "");
        }
    if (l.n != heads->n)
        fail(w, "d%d: %zu live versions of %s, but it should have %zu", i, l.n, path_name[path], heads->n);
    MUST(index_path_get(d->index, id, NULL, &winner));
    if (!heads->n)
        return;
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry ent = {0};
    struct ix_entry row;
    MUST(engine_entry(d->engine, winner, &raw, &ent, &row));
    const struct version_of *best = winner_of(w, i, heads);
    size_t this = model_find(w, &(struct name){ent.v.dot, id_hash(raw.data, raw.len)});
    bool one_of_deletions = best->kind == KIND_TOMBSTONE && this < w->model.n && may_be_missing(w, &w->model.v[this]);
    if (!dots_equal(&best->dot, &ent.v.dot) && !one_of_deletions)
        fail(w, "d%d: another winner of %s", i, path_name[path]);
    for (size_t k = 0; k < heads->n; k++) {
        const struct version_of *v = &w->model.v[heads->v[k]];
        if (v->kind == KIND_FILE && v->content % 3 && content_is_somewhere(w, v->content) && !disk_has_content(&d->disk, v->content))
            fail(w, "d%d: lacks content %u of %s, which is there", i, v->content, path_name[path]);
    }
}

/* Nothing ends a note. Of a number that was used twice each device shows the one that it has. */
static void judge_note(struct world *w, const struct version_of *v)
{
    for (int i = 0; i < w->n; i++) {
        const struct stream *s = engine_stream_by_sid(w->d[i].engine, &v->dot.sid);
        struct ix_entry row;
        if (!s || index_entry_at(w->d[i].index, s->row.id, v->dot.seq, &row, NULL) < 0 || !row.live)
            fail(w, "d%d: does not show number %llu of d%d, a note", i, (unsigned long long)v->dot.seq, v->author);
    }
}

static void drop_deletions(const struct world *w, struct view *heads)
{
    size_t n = 0;
    for (size_t i = 0; i < heads->n; i++)
        if (!may_be_missing(w, &w->model.v[heads->v[i]]))
            heads->v[n++] = heads->v[i];
    heads->n = n;
}

static bool lives(const struct version_of *const *winner, int path)
{
    if (winner[path] && winner[path]->kind != KIND_TOMBSTONE)
        return true;
    for (int i = 0; i < PATHS; i++)
        if (path_parent_of[i] == path && lives(winner, i))
            return true;
    return false;
}

/* A file whose content is nowhere: its author's user has overwritten it before anybody could have it. */
static bool is_void(const struct world *w, const struct version_of *v)
{
    return v && v->kind == KIND_FILE && !content_is_somewhere(w, v->content);
}

static bool void_beneath(const struct world *w, const struct version_of *const *winner, int path)
{
    for (int i = 0; i < PATHS; i++)
        if (path_parent_of[i] == path && (is_void(w, winner[i]) || void_beneath(w, winner, i)))
            return true;
    return false;
}

/* A directory is there while anything lives beneath it; otherwise the winner is. */
static void judge_disk(struct world *w, int i, const struct version_of *const *winner)
{
    for (int p = 0; p < PATHS; p++) {
        const struct thing *t = &w->d[i].disk.at[p];
        const struct version_of *v = winner[p];
        bool gone = !v || v->kind == KIND_TOMBSTONE;
        enum stamp_kind kind = gone ? lives(winner, p) ? STAMP_DIR : STAMP_ABSENT
                             : v->kind == KIND_DIR ? STAMP_DIR : v->kind == KIND_FILE ? STAMP_FILE : STAMP_SYMLINK;
        if (is_void(w, v) || (gone && void_beneath(w, winner, p)))
            continue;
        if (t->kind != kind)
            fail(w, "d%d: kind of %s is %d, expected %d", i, path_name[p], t->kind, kind);
        if (!gone && v->kind != KIND_DIR && t->content != v->content)
            fail(w, "d%d: content of %s is %u, expected %u", i, path_name[p], t->content, v->content);
        if (!gone && v->kind != KIND_SYMLINK && t->mode != v->mode)
            fail(w, "d%d: mode of %s is %o, expected %o", i, path_name[p], t->mode, v->mode);
    }
}

static struct id fingerprint(struct world *w, int i)
{
    AUTO(buf_release) struct buf blob = BUF_INIT(LIMIT_BODY);
    AUTO(vec_release) struct vec v = {0};
    MUST(engine_own_vector(w->d[i].engine, device_wall(w, i), 1, &blob));
    MUST(vec_decode(blob.data, blob.len, &v));
    return v.fp;
}

static void tell_disks(const struct world *w)
{
    for (int i = 0; i < w->n; i++)
        for (int p = 0; p < PATHS; p++)
            if (w->d[i].disk.at[p].kind != STAMP_ABSENT)
                tell(w, "d%d: on disk %s: kind %d content %u", i, path_name[p], w->d[i].disk.at[p].kind, w->d[i].disk.at[p].content);
}

void judge(struct world *w)
{
    tell_disks(w);
    for (size_t i = 0; i < w->model.n; i++)
        (void)everybody_knows(w, &w->model.v[i]);
    for (int i = 0; i < w->n; i++)
        for (size_t k = 0; k < w->d[i].engine->nend; k++)
            judge_end(w, i, &w->d[i].engine->end[k]);
    judge_again(w);
    judge_required(w);
    const struct version_of *winner[PATHS];
    for (int p = 0; p < PATHS; p++) {
        struct view heads;
        heads_of(w, 0, p, true, &heads);
        winner[p] = winner_of(w, 0, &heads);
        drop_deletions(w, &heads);
        for (int i = 0; i < w->n; i++)
            judge_path(w, i, p, &heads);
    }
    for (int i = 0; i < w->n; i++)
        check_cuts(w, i);
    for (size_t i = 0; i < w->model.n; i++)
        if (w->model.v[i].path == NOTES && !w->model.v[i].ambiguous && everybody_knows(w, &w->model.v[i]) && !is_nowhere(w, &w->model.v[i]))
            judge_note(w, &w->model.v[i]);
    struct id fp = fingerprint(w, 0);
    for (int i = 0; i < w->n; i++) {
        judge_disk(w, i, winner);
        struct id other = fingerprint(w, i);
        uint64_t files, bytes, own_files, own_bytes;
        MUST(index_totals(w->d[i].index, &files, &bytes));
        engine_totals(w->d[i].engine, &own_files, &own_bytes);
        if (files != own_files || bytes != own_bytes)
            fail(w, "d%d: counts %llu files, it has %llu", i, (unsigned long long)own_files, (unsigned long long)files);
        if (!id_eq(&fp, &other))
            fail(w, "d%d: another fingerprint", i);
    }
}
