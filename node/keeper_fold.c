/* Kept files into packs. */
#include "node/keeper_priv.h"
#include "node/log.h"

static int record(struct keeper *k, const struct pack_file *f) { return index_kept_packed(k->c.index, f->id); }

static void note(struct keeper *k, const struct pack_file *f)
{
    if (f->broken[0])
        log_warn("a kept version is damaged: run lanyard check name=%s why=\"%s\"", f->name, f->broken);
    if (f->whole || f->broken[0])
        k->folded_to = f->id;
    k->figures.folded += f->whole;
    k->figures.folded_bytes += f->whole ? f->size : 0;
}

static int any_entry(void *arg, const struct ix_entry *row) { (void)arg, (void)row; return 1; }

static int any_version(void *arg, const struct ix_kept *row)
{
    const struct keeper *k = arg;
    return index_entry_by_root(k->c.index, &row->root, any_entry, NULL);
}

/* What no version names stays a file: by its name its path is found, of which it may become a version yet (pull_found.c). */
static bool nameless(struct keeper *k, const struct ix_kept *row)
{
    return row->path == 0 && index_kept_named(k->c.index, row->name, any_version, k) == 0;
}

static int choose(void *arg, const struct ix_kept *row)
{
    struct pack_job *j = arg;
    if (nameless(j->k, row)) {
        j->k->folded_to = row->id;
        return 0;
    }
    AUTO(buf_release) struct buf path = BUF_INIT(LIMIT_PATH + 1);
    struct pack_file f = {.id = row->id, .name = xstrdup(row->name), .root = row->root, .size = row->size};
    if (row->path && index_path_get(j->k->c.index, row->path, &path, NULL) == 0)
        f.path = (char *)buf_steal(&path, &f.len);
    return keeper_pack_add(j, &f);
}

bool keeper_fold_waiting(struct keeper *k)
{
    return index_kept_files(k->c.index, k->folded_to, keeper_any_kept, NULL) == 1;
}

enum step_result keeper_fold(struct keeper *k)
{
    if (k->failure[0])
        return STEP_FAILED;
    struct pack_job *j = keeper_pack_new(k);
    j->record = record;
    j->note = note;
    j->partly = &k->fold_partly;
    int r = index_kept_files(k->c.index, k->folded_to, choose, j);
    bool room = r < 0 || j->n == 0 || keeper_pack_room(j) == 0;
    if (!room) {
        log_seldom(LOG_WARN, "kept versions wait to be packed why=\"%s\"", err_text());   /* what expires makes room */
        k->stuck = true;
    }
    if (r >= 0 && j->n && room)
        return keeper_pack_submit(j);
    keeper_pack_free(j);
    return r < 0 ? keeper_fail(k, err_text()) : STEP_OVER;
}
