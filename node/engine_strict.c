/* Mode strict: while it holds, a file that has a version's mode but for the write bits has that version's mode; and one whose other bits
 * were changed by its user has not lost its write bits by that. */
#include "node/engine_priv.h"

#define KEY "strict"
#define WRITABLE 0222u

int strict_load(struct engine *e)
{
    uint8_t on = 0;
    int r = engine_load_value(e, KEY, &on, sizeof on);
    e->strict = on;
    return r;
}

bool engine_strict(const struct engine *e) { return e->strict; }

int engine_set_strict(struct engine *e, bool on, uint64_t wall_ms)
{
    uint8_t v = on;
    int r = engine_begin(e);
    if (r < 0)
        return r;
    if ((r = index_kv_put(e->c.index, KEY, &v, sizeof v)) < 0) {
        engine_rollback(e);
        return r;
    }
    r = engine_commit(e, wall_ms);
    if (r == 0)
        e->strict = on;
    return r;
}

void engine_strict_ends(struct engine *e, bool ends) { e->strict_ends = ends; }

static uint32_t fenced(const struct entry *ent) { return ent->kind == KIND_FILE ? ent->mode & ~WRITABLE : ent->mode; }

uint32_t engine_disk_mode(const struct engine *e, const struct entry *ent)
{
    return e->strict && !e->strict_ends ? fenced(ent) : ent->mode;
}

bool strict_is_mode(const struct engine *e, uint32_t mode, const struct entry *ent)
{
    return mode == ent->mode || (e->strict && mode == fenced(ent));
}

uint32_t strict_shown(const struct engine *e, uint32_t mode, const struct versions *vs, int64_t on_disk)
{
    const struct vers *best = NULL;
    uint32_t lost = 0;
    for (size_t i = 0; e->strict && !(mode & WRITABLE) && i < vs->n; i++) {
        const struct vers *v = &vs->v[i];
        if (v->row.kind != KIND_FILE)
            continue;
        if (v->row.id == on_disk)
            lost = v->ent.mode & WRITABLE;
        if ((v->ent.mode & ~WRITABLE) != mode)
            continue;
        if (v->row.id == on_disk)
            return v->ent.mode;
        if (!best || v->row.live)            /* one that was put in place and not recorded, when the node was killed */
            best = v;
    }
    return best ? best->ent.mode : mode | lost;
}

/* Databases in use are left alone: what is on record of them is not what lies there. */
int engine_strict_row(struct engine *e, const struct ix_local *l, bool on, uint32_t *mode)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry ent = {0};
    struct ix_entry row;
    if (l->stamp.kind != STAMP_FILE || l->apart || !l->entry || on != (bool)(l->stamp.mode & WRITABLE))
        return 0;
    *mode = l->stamp.mode & ~WRITABLE;
    if (on)
        return 1;
    int r = engine_entry(e, l->entry, &raw, &ent, &row);
    *mode = ent.mode;
    return r < 0 ? r : ent.kind == KIND_FILE && (ent.mode & ~WRITABLE) == l->stamp.mode && ent.mode != l->stamp.mode;
}
