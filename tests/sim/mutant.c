/* Defects made on purpose. The linker hands calls of the product's functions to these (--wrap), so that the product has no trace of
 * them. */
#include <sqlite3.h>
#include <string.h>

#include "tests/sim/sim.h"

enum mutant mutant;
const char *const mutant_name[MUTANT_COUNT] = {"none", "no-except", "announce-early", "delete-on-first-scan", "no-doubt", "no-again", "deaf", "forget-early",
                                               "no-audit", "no-cuts", "reached-by-known", "held-back-is-served", "winners-of-before"};

/* The contexts of edits lack their exceptions. */
void __real_merge_context_edit(struct dots *ctx, struct dots *except, const struct sid *self, const struct version *base,
                               const struct version *const *heads, size_t n);
void __wrap_merge_context_edit(struct dots *ctx, struct dots *except, const struct sid *self, const struct version *base,
                               const struct version *const *heads, size_t n);
void __wrap_merge_context_edit(struct dots *ctx, struct dots *except, const struct sid *self, const struct version *base,
                               const struct version *const *heads, size_t n)
{
    __real_merge_context_edit(ctx, except, self, base, heads, n);
    if (mutant == MUTANT_NO_EXCEPT)
        dots_clear(except);
}

/* What is not on the disk is a deletion, also when it never was there. */
int __real_engine_gone(struct engine *e, const char *path, size_t len, uint64_t wall_ms);
int __wrap_engine_gone(struct engine *e, const char *path, size_t len, uint64_t wall_ms);
static struct index *index_of_engine;

int __wrap_engine_gone(struct engine *e, const char *path, size_t len, uint64_t wall_ms)
{
    struct ix_local l;
    int64_t id, winner;
    if (mutant == MUTANT_FIRST_SCAN && index_of_engine && index_path_id(index_of_engine, path, len, false, &id) == 0 &&
        index_path_get(index_of_engine, id, NULL, &winner) == 0 && winner && index_local_get(index_of_engine, id, &l) < 0) {
        l = (struct ix_local){.path = id, .entry = winner, .settled = true};
        if (index_local_put(index_of_engine, &l) < 0)
            return err_set(ERR_IO, "mutant: the index cannot be written");
    }
    return __real_engine_gone(e, path, len, wall_ms);
}

/* A restored index is believed. */
int __real_engine_doubt(struct engine *e);
int __wrap_engine_doubt(struct engine *e);
int __wrap_engine_doubt(struct engine *e)
{
    return mutant == MUTANT_NO_DOUBT ? 0 : __real_engine_doubt(e);
}

/* What peers know of the own stream is not looked at. */
void __real_engine_notice_rollback(struct engine *e, const struct vec *v);
void __wrap_engine_notice_rollback(struct engine *e, const struct vec *v);
void __wrap_engine_notice_rollback(struct engine *e, const struct vec *v)
{
    if (mutant != MUTANT_DEAF)
        __real_engine_notice_rollback(e, v);
}

static sqlite3 *before;

void mutant_remember(struct world *w, int i)
{
    index_of_engine = w->d[i].index;
    if (mutant != MUTANT_EARLY)
        return;
    if (!before && sqlite3_open(":memory:", &before) != SQLITE_OK)
        fail(w, "mutant: no second index");
    index_copy(w, before, w->d[i].index->db);
}

void mutant_forget(struct world *w, int i)
{
    index_copy(w, w->d[i].index->db, before);
}

/* Everybody who has ever been heard of is thought to know everything when it is decided what to forget. The audit would mend nearly all that
 * comes of it, and losing an index is a reason of its own for an audit: so there is neither (world.c, forget.c). */
static bool forgetting;
int __real_engine_forget_old(struct engine *e, uint64_t before_ms, int64_t *path, uint64_t *entries);
int __wrap_engine_forget_old(struct engine *e, uint64_t before_ms, int64_t *path, uint64_t *entries);
int __wrap_engine_forget_old(struct engine *e, uint64_t before_ms, int64_t *path, uint64_t *entries)
{
    forgetting = mutant == MUTANT_FORGET_EARLY;
    int r = __real_engine_forget_old(e, before_ms, path, entries);
    forgetting = false;
    return r;
}

const struct vec_stream *__real_vec_find(const struct vec *v, const struct sid *sid);
const struct vec_stream *__wrap_vec_find(const struct vec *v, const struct sid *sid);
const struct vec_stream *__wrap_vec_find(const struct vec *v, const struct sid *sid)
{
    static const struct vec_stream everything = {.known = UINT64_MAX};
    return forgetting ? &everything : __real_vec_find(v, sid);
}

/* What comes by a third device is taken, whatever the control log says of who wrote it. */
bool __real_cut_allows(struct engine *e, const struct header *h);
bool __wrap_cut_allows(struct engine *e, const struct header *h);
bool __wrap_cut_allows(struct engine *e, const struct header *h)
{
    return mutant == MUTANT_NO_CUTS || __real_cut_allows(e, h);
}

/* A version is taken for reached when its entries are known, whatever of the contents is here. */
static bool looking;
int __real_engine_lock_look(struct engine *e, uint64_t wall_ms, uint64_t now);
int __wrap_engine_lock_look(struct engine *e, uint64_t wall_ms, uint64_t now);
int __wrap_engine_lock_look(struct engine *e, uint64_t wall_ms, uint64_t now)
{
    looking = true;
    int r = __real_engine_lock_look(e, wall_ms, now);
    looking = false;
    return r;
}

int __real_index_want_min(struct index *ix, int64_t stream, uint64_t *seq);
int __wrap_index_want_min(struct index *ix, int64_t stream, uint64_t *seq);
int __wrap_index_want_min(struct index *ix, int64_t stream, uint64_t *seq)
{
    return looking && mutant == MUTANT_KNOWN ? ERR_NOTFOUND : __real_index_want_min(ix, stream, seq);
}

/* Winners stay what they were when another version is required. */
int __real_index_entry_contested(struct index *ix, int (*row)(void *, int64_t path), void *arg);
int __wrap_index_entry_contested(struct index *ix, int (*row)(void *, int64_t path), void *arg);
int __wrap_index_entry_contested(struct index *ix, int (*row)(void *, int64_t path), void *arg)
{
    return mutant == MUTANT_OLD_WINNERS ? 0 : __real_index_entry_contested(ix, row, arg);
}

/* A locked device shows and serves what it writes. */
uint64_t __real_lock_shown(const struct engine *e, const struct ix_stream *row);
uint64_t __wrap_lock_shown(const struct engine *e, const struct ix_stream *row);
uint64_t __wrap_lock_shown(const struct engine *e, const struct ix_stream *row)
{
    return mutant == MUTANT_SERVES_HELD ? row->known : __real_lock_shown(e, row);
}
