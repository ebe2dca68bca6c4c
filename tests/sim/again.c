/* What is signed again because its stream has two histories. The linker hands the engine's calls to this: every version that was live
 * on a device which had its content, and no longer counts, must have another one in its place. */
#include <string.h>

#include "tests/sim/sim.h"

int busy_device;
struct world *busy_world;

void again_watch(struct world *w) { busy_world = w; }

static size_t version_at(struct world *w, struct engine *e, int64_t entry)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry ent = {0};
    struct ix_entry row;
    MUST(engine_entry(e, entry, &raw, &ent, &row));
    return model_find(w, &(struct name){ent.v.dot, id_hash(raw.data, raw.len)});
}

/* A note, which only its own device signs again. */
static bool is_of_another(const struct world *w, struct engine *e, size_t v)
{
    const struct version_of *o = &w->model.v[v];
    return o->path == NOTES && !engine_is_own(e, &engine_stream_by_sid(e, &o->dot.sid)->row.dev);
}

int __real_engine_write_again(struct engine *e, const struct vers *was, struct dots *own, bool itself, uint64_t wall_ms, int64_t *id);
int __wrap_engine_write_again(struct engine *e, const struct vers *was, struct dots *own, bool itself, uint64_t wall_ms, int64_t *id);
int __wrap_engine_write_again(struct engine *e, const struct vers *was, struct dots *own, bool itself, uint64_t wall_ms, int64_t *id)
{
    struct world *w = busy_world;
    if (mutant == MUTANT_NO_AGAIN) {
        *id = was->row.id;               /* what was live beyond the end is left out */
        return 0;
    }
    size_t v = version_at(w, e, was->row.id);
    if (v < w->model.n && is_of_another(w, e, v))
        fail(w, "d%d: signs again what another device has said", busy_device);
    int r = __real_engine_write_again(e, was, own, itself, wall_ms, id);
    if (r == 0 && v < w->model.n) {
        struct name name = {w->model.v[v].dot, w->model.v[v].raw};
        model_add(w, busy_device, w->model.v[v].path, itself ? OVER_ITSELF : IN_PLACE_OF, &name);
    }
    return r;
}

static int any_kept(void *arg, const struct ix_kept *k) { (void)arg, (void)k; return 1; }
static int any_local(void *arg, const struct ix_local *l) { (void)arg, (void)l; return 1; }

static bool has_content(struct world *w, const struct version_of *v)
{
    struct index *ix = w->d[busy_device].index;
    AUTO(content_list_release) struct content_list c = content_of(v->content, false);
    return v->kind != KIND_FILE || c.type != CONTENT_BLOCKS || index_kept_by_root(ix, &c.root, any_kept, NULL) == 1 ||
           index_local_by_root(ix, &c.root, any_local, NULL) == 1;
}

int __real_state_withdraw(struct engine *e, int64_t entry);
int __wrap_state_withdraw(struct engine *e, int64_t entry);
int __wrap_state_withdraw(struct engine *e, int64_t entry)
{
    struct world *w = busy_world;
    size_t v = version_at(w, e, entry);
    if (v == w->model.n)
        fail(w, "d%d: takes back what nobody has written", busy_device);
    if (w->nwithdrawn == VERSIONS_MAX)
        fail(w, "more versions are taken back than there is room for");
    const struct version_of *o = &w->model.v[v];
    bool given_up = is_cut(w, busy_device, &o->dot) && !(o->author == busy_device && may_write(e));
    if (has_content(w, o) && !given_up && !is_of_another(w, e, v))
        w->withdrawn[w->nwithdrawn++] = (struct withdrawn){v, busy_device};
    return __real_state_withdraw(e, entry);
}

void again_forget(struct world *w, int i)
{
    size_t n = 0;
    for (size_t k = 0; k < w->nwithdrawn; k++)
        if (w->withdrawn[k].device != i)
            w->withdrawn[n++] = w->withdrawn[k];
    w->nwithdrawn = n;
}

static bool was_withdrawn(const struct world *w, size_t v)
{
    for (size_t k = 0; k < w->nwithdrawn; k++)
        if (w->withdrawn[k].version == v)
            return true;
    return false;
}

static bool was_superseded(const struct world *w, size_t v)
{
    for (size_t i = 0; i < w->model.n; i++)
        if (w->model.v[i].supersedes[v / 64] >> (v % 64) & 1)
            return true;
    return false;
}

/* The same once more: what somebody else has signed in the place of one of them stands for all, and so does, where clocks are wrong or run
 * alike, what says the same by chance. */
static bool is_like(const struct version_of *a, const struct version_of *b)
{
    return a->path == b->path && a->kind == b->kind && a->content == b->content && a->mode == b->mode && a->hlc == b->hlc;
}

/* By that device, or in its place by somebody who had it, too; that may have been superseded since, or taken back in turn, or cut. */
static bool is_replaced(struct world *w, size_t v)
{
    for (size_t i = 0; i < w->model.n; i++) {
        struct version_of *u = &w->model.v[i];
        if ((u->again == v + 1 || (i != v && is_like(u, &w->model.v[v]))) && (was_withdrawn(w, i) || was_superseded(w, i) || w->d[u->author].lost_index || is_cut(w, u->author, &u->dot) ||
                                 everybody_knows(w, u)))
            return true;
    }
    return false;
}

void judge_again(struct world *w)
{
    for (size_t k = 0; k < w->nwithdrawn; k++) {
        size_t v = w->withdrawn[k].version;
        const struct version_of *o = &w->model.v[v];
        if (!is_replaced(w, v))
            fail(w, "d%d: had version %zu of %s, number %llu of an ended stream, and nobody has signed it again", w->withdrawn[k].device, v,
                 path_name[o->path], (unsigned long long)o->dot.seq);
    }
}
