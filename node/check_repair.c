/* What is done about damage: the version is wanted again, if somebody has it. */
#include "node/check_priv.h"
#include "node/serve.h"

static int newest(void *arg, const struct ix_entry *row)
{
    struct ix_entry *out = arg;
    *out = *row;
    out->raw = (struct bytes){0};
    return row->live;
}

/* The version itself, or another one of the same content. */
static int find_entry(struct check *k, int64_t entry, const struct id *root, struct ix_entry *out)
{
    *out = (struct ix_entry){0};
    int r = entry ? index_entry_get(k->c.index, entry, out, NULL) : ERR_NOTFOUND;
    if (r == 0 && id_eq(&out->root, root))
        return 0;
    *out = (struct ix_entry){0};
    r = index_entry_by_root(k->c.index, root, newest, out);
    return r < 0 ? r : out->id ? 0 : err_set(ERR_NOTFOUND, "no version has this content");
}

/* Somewhere on this disk, as far as is known, or with a device that is online. */
static bool somebody_has(struct check *k, const struct ix_entry *row)
{
    struct id dev;
    struct place_of at;
    bool here = serve_find(k->c.index, &row->root, &at) == 0 && serve_gather(k->c.index, &at) == 0;
    place_of_release(&at);
    return here || engine_sources(k->c.engine, row->stream, row->seq, ENGINE_KNOWS, &dev, 1) > 0;
}

static int want(struct check *k, const struct ix_entry *row, enum want_role role)
{
    struct ix_want w = {.entry = row->id, .path = row->path, .stream = row->stream, .seq = row->seq, .size = row->size, .role = role,
                        .kind = row->kind, .root = row->root};
    return somebody_has(k, row) ? index_want_put(k->c.index, &w) :
           err_set(ERR_NOTFOUND, "neither this disk nor a device that is online has it");
}

/* Ends the transaction. */
static void settle(struct check *k, struct check_finding *f, int r, const struct ix_entry *row)
{
    if (r == 0)
        r = engine_commit(k->c.engine, loop_wall());
    if (r < 0 && index_in_tx(k->c.index))
        engine_rollback(k->c.engine);
    f->state = r == 0 ? CHECK_WANTED : CHECK_LOST;
    f->want = row->id;
    if (r == 0)
        k->c.committed(k->c.arg);
}

/* Only what should be there now is brought back: another version is on its way anyhow. */
void repair_file(struct check *k, struct check_finding *f, int64_t path, const struct stamp *st)
{
    struct ix_entry row = {0};
    int64_t winner = 0;
    int r = engine_begin(k->c.engine);
    if (r == 0)
        r = index_path_get(k->c.index, path, NULL, &winner);
    if (r == 0)
        r = index_entry_get(k->c.index, winner, &row, NULL);
    if (r == 0)
        r = index_local_put(k->c.index, &(struct ix_local){.path = path, .entry = 0, .stamp = *st, .settled = true});
    if (r == 0)
        r = want(k, &row, WANT_INSTALL);
    settle(k, f, r, &row);
}

void repair_kept(struct check *k, struct check_finding *f, int64_t id, int64_t entry, const struct id *root, bool there)
{
    struct ix_entry row;
    int r = engine_begin(k->c.engine);
    if (r == 0)
        r = find_entry(k, entry, root, &row);
    if (r == 0)
        r = index_kept_del(k->c.index, id);
    if (r == 0 && there)                  /* kept aside, whatever is in it */
        r = engine_kept(k->c.engine, row.path, 0, &ID_NONE, 0, f->name, loop_wall());
    if (r == 0 && row.kind == KIND_FILE)  /* the target of a link stands in its entry */
        r = want(k, &row, WANT_KEEP);
    settle(k, f, r, &row);
}

void repair_version(struct check *k, struct check_finding *f, int64_t entry, const struct id *root)
{
    struct ix_entry row;
    int r = engine_begin(k->c.engine);
    if (r == 0)
        r = find_entry(k, entry, root, &row);
    if (r == 0)
        r = want(k, &row, WANT_KEEP);
    settle(k, f, r, &row);
}

/* What cannot be read is not there: so it is not relied upon, and is written again when it comes. */
void repair_pack(struct check *k, struct check_finding *f, const struct ix_piece *bad, size_t n)
{
    int r = engine_begin(k->c.engine);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = index_piece_del(k->c.index, bad[i].kind, &bad[i].id);
    if (r == 0)
        r = engine_commit(k->c.engine, loop_wall());
    if (r < 0 && index_in_tx(k->c.index))
        engine_rollback(k->c.engine);
    f->state = r == 0 ? CHECK_REPAIRED : CHECK_LOST;
}
