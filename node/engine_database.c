/* What is seen of a database. Its version may be a snapshot (apart): then the file at its path has other bytes, though it says the same. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/engine_priv.h"

#define KEY_ECHOES "echoes"          /* there when there has been one */
enum { KEY_MAX = 32 };

/* ---- what says the same as a snapshot ---- */

/* The version that a database at rest became, and the snapshot whose state it still had. Nobody else knows that it is none of an edit. */
struct echo { int64_t entry, of; };

static const char *echo_key(int64_t path, char key[static KEY_MAX])
{
    snprintf(key, KEY_MAX, "echo-%" PRIx64, (uint64_t)path);
    return key;
}

int database_load(struct engine *e)
{
    char there = 0;
    int r = engine_load_value(e, KEY_ECHOES, &there, sizeof there);
    e->echoes = there != 0;
    return r;
}

static int load_echo(struct engine *e, int64_t path, char key[static KEY_MAX], struct echo *out)
{
    *out = (struct echo){0};
    return e->echoes ? engine_load_value(e, echo_key(path, key), out, sizeof *out) : 0;
}

/* Of an echo of an echo: what both say was said first by the snapshot. To be asked before there is another echo. */
static int first_said(struct engine *e, int64_t path, int64_t says, int64_t *of)
{
    struct echo before;
    char key[KEY_MAX];
    int r = load_echo(e, path, key, &before);
    *of = before.entry == says ? before.of : says;
    return r;
}

static int note_echo(struct engine *e, const char *path, size_t len, int64_t of)
{
    struct ix_local l;
    char key[KEY_MAX];
    int r = index_local_find(e->c.index, path, len, &l);
    struct echo echo = {l.entry, of};
    if (r == 0)
        r = index_kv_put(e->c.index, echo_key(l.path, key), &echo, sizeof echo);
    return r == 0 ? self_remember(e, KEY_ECHOES, &e->echoes) : r;
}

int database_heads(struct engine *e, int64_t path, struct vers *const *head, size_t n)
{
    struct echo echo;
    char key[KEY_MAX];
    int r = load_echo(e, path, key, &echo);
    if (r < 0 || !echo.entry)
        return r;
    for (size_t i = 0; i < n; i++)
        if (head[i]->row.id == echo.entry)
            return 0;
    return index_kv_del(e->c.index, key);
}

/* Whether one who knew only the snapshot has deleted that. The echo itself is a head, or it would not be on record any more. */
static bool is_deleted(struct versions *vs, struct vers *const *head, size_t n, const struct echo *echo)
{
    const struct vers *of = versions_find(vs, echo->of);
    bool deleted = false;
    for (size_t i = 0; of && i < n; i++)
        deleted |= head[i]->row.kind == KIND_TOMBSTONE && merge_supersedes(&head[i]->ent.v, &of->ent.v);
    return deleted;
}

static int end_echo(struct engine *e, int64_t path, const struct echo *echo, uint64_t wall_ms)
{
    AUTO(versions_release) struct versions vs;
    int r = versions_load(e, path, &vs);
    if (r < 0)
        return r;
    AUTO(heads_release) struct heads h = versions_heads(&vs);
    if (!is_deleted(&vs, h.of, h.n, echo))
        return 0;
    r = author_end(e, &versions_find(&vs, echo->entry)->ent, path, h.v, h.n, wall_ms);
    return r == 0 ? state_update(e, path) : r;
}

int database_recognize(struct engine *e, int64_t path, uint64_t wall_ms)
{
    struct echo echo;
    char key[KEY_MAX];
    if (!may_write(e))
        return 0;
    int r = load_echo(e, path, key, &echo);
    return r == 0 && echo.entry ? end_echo(e, path, &echo, wall_ms) : r;
}

/* ---- what is seen ---- */

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
    int64_t of = 0;
    *used = false;
    int r = taken_apart(e, path, len, &raw, &was, &row);
    if (r == 0 && id_eq(&row.root, &content->root))
        shown.mtime_ns = was.mtime_ns;
    if (r == 0 && how->says == row.id) {
        dated = was.v.hlc + 1;
        r = first_said(e, row.path, row.id, &of);
    }
    if (r < 0 && r != ERR_NOTFOUND)
        return r;
    int authored = seen_dated(e, path, len, &shown, content, settled, dated, wall_ms);
    if (authored < 0)
        return authored;
    r = mark_apart(e, path, len, st, content, how, used, wall_ms);
    if (r == 0 && authored && dated)
        r = note_echo(e, path, len, of);
    return r < 0 ? r : authored;
}
