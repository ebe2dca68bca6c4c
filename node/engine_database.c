/* What is seen of a database. Its version may be a snapshot (apart): then the file at its path has other bytes, though it says the same. */
#include "node/engine_priv.h"

/* The version that lies at a path; ERR_NOTFOUND: none, or it is not a snapshot. */
static int taken_apart(struct engine *e, const char *path, size_t len, struct buf *raw, struct entry *ent, struct ix_entry *row)
{
    struct ix_local l;
    int r = index_local_find(e->c.index, path, len, &l);
    return r < 0 ? r : l.apart && l.entry ? engine_entry(e, l.entry, raw, ent, row) : ERR_NOTFOUND;
}

/* The row that seen_dated has written, if it is about this content. */
static int mark_apart(struct engine *e, const char *path, size_t len, const struct stamp *st, const struct content_list *content,
                      const struct database_seen *how, bool *used, uint64_t wall_ms)
{
    struct ix_local l;
    struct ix_entry row;
    int64_t id;
    int r = index_path_id(e->c.index, path, len, false, &id);
    if (r == 0)
        r = index_local_get(e->c.index, id, &l);
    if (r == 0)
        r = index_entry_get(e->c.index, l.entry, &row, NULL);
    if (r < 0 || !id_eq(&row.root, &content->root) || row.size != content->size)
        return r == ERR_NOTFOUND ? 0 : r;
    l.stamp = *st;
    l.apart = how->apart;
    *used = true;
    r = index_local_put(e->c.index, &l);
    return r == 0 && how->kept ? engine_kept(e, id, l.entry, &row.root, row.size, how->kept, wall_ms) : r;
}

/* The content of before has the time of before. And what only says what a snapshot has said is no edit of now: dated right after that one,
 * it loses against all that others have written meanwhile. */
int engine_seen_database(struct engine *e, const char *path, size_t len, const struct stamp *st, const struct content_list *content,
                         bool settled, const struct database_seen *how, bool *used, uint64_t wall_ms)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry was = {0};
    struct ix_entry row;
    struct stamp shown = *st;
    uint64_t dated = 0;
    *used = false;
    int r = taken_apart(e, path, len, &raw, &was, &row);
    if (r == 0 && id_eq(&row.root, &content->root))
        shown.mtime_ns = was.mtime_ns;
    if (r == 0 && how->says == row.id)
        dated = was.v.hlc + 1;
    if (r < 0 && r != ERR_NOTFOUND)
        return r;
    int authored = seen_dated(e, path, len, &shown, content, settled, dated, wall_ms);
    if (authored < 0)
        return authored;
    r = mark_apart(e, path, len, st, content, how, used, wall_ms);
    return r < 0 ? r : authored;
}
