/* What a node that was killed has left in tmp/ and kept/, and what of it goes when it cannot be trusted. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/log.h"
#include "node/pull_priv.h"

static int remove_download(void *arg, const char *name)
{
    const struct pull *p = arg;
    return strncmp(name, "d-", 2) == 0 || strncmp(name, "f-", 2) == 0 ? folder_tmp_remove(p->c.folder, name) : 0;
}

void downloads_remove(struct pull *p)
{
    if (folder_tmp_list(p->c.folder, remove_download, p) < 0)
        log_warn("%s", err_text());
}

/* Downloads that nobody goes on with: their content came another way, or was outdated after a crash. Nothing is wanted now. */
void downloads_tidy(struct pull *p)
{
    uint64_t n, bytes;
    if (!p->untidy || p->all.n || p->more || index_want_totals(p->c.index, &n, &bytes) < 0 || n)
        return;
    downloads_remove(p);
    p->untidy = false;
}

/* In tmp/ there is nothing of the user's. "f-" is a download of one block, begun anew in no time; "d-" goes on where it was. */
static int clean_tmp(void *arg, const char *name)
{
    struct pull *p = arg;
    return strncmp(name, "d-", 2) == 0 ? 0 : folder_tmp_remove(p->c.folder, name);
}

static int name_of(void *arg, const struct ix_kept *k)
{
    if (*k->name)
        pathset_put(arg, k->name, strlen(k->name), 0);
    return 0;
}

struct orphans { struct pull *p; struct pathset *known; };

/* What the index still believes in the folder, when a kept file bears its number: it was displaced, or a part of it was, and that was not
 * recorded. */
static bool names_local(struct pull *p, const char *name, struct ix_entry *row, struct ix_local *l)
{
    unsigned long long was;
    return sscanf(name, "k-%llx-", &was) == 1 && index_entry_get(p->c.index, (int64_t)was, row, NULL) == 0 &&
           index_local_get(p->c.index, row->path, l) == 0 && l->entry == row->id;
}

static bool is_that_file(struct pull *p, const char *name, const struct ix_local *l)
{
    struct statx sx;
    struct stamp now;
    int fd;
    if (folder_kept_open(p->c.folder, name, &fd) < 0)
        return false;
    int r = statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &sx);
    close(fd);
    if (r == 0)
        stamp_from(&now, &sx);
    return r == 0 && l->settled && !l->apart && stamp_same_file(&l->stamp, &now);
}

/* That it is not in its place is no deletion, also when it is not the file that it was on record: a database makes way as another one. */
static int hidden_by_crash(struct pull *p, const struct ix_entry *row)
{
    AUTO(buf_release) struct buf path = BUF_INIT(LIMIT_PATH + 1);
    struct ix_want w;
    struct stamp now;
    if (index_want_get(p->c.index, row->id, &w) < 0 || w.role != WANT_HIDE || index_path_get(p->c.index, row->path, &path, NULL) < 0 ||
        folder_stat(p->c.folder, (const char *)path.data, path.len, &now) < 0 || now.kind != STAMP_ABSENT)
        return 0;
    return engine_installed(p->c.engine, row->id, &(struct stamp){0}, true);
}

/* A file in kept/ that the index does not know was on its way in or out when the node was killed. It may be the user's: it stays. */
static int adopt_orphan(void *arg, const char *name)
{
    struct orphans *o = arg;
    struct ix_entry row = {0};
    struct ix_local l;
    if (pathset_get(o->known, name, strlen(name), NULL))
        return 0;
    log_info("found after an unclean stop, kept as=%s", name);
    bool named = names_local(o->p, name, &row, &l);
    int r = named && is_that_file(o->p, name, &l)
          ? engine_kept(o->p->c.engine, row.path, row.id, &row.root, row.size, name, loop_wall())
          : engine_kept(o->p->c.engine, 0, 0, &ID_NONE, 0, name, loop_wall());
    return r == 0 && named ? hidden_by_crash(o->p, &row) : r;
}

int place_clean_up(struct pull *p)
{
    AUTO(pathset_release) struct pathset known = {0};
    struct orphans o = {p, &known};
    int r = folder_tmp_list(p->c.folder, clean_tmp, p);
    if (r == 0)
        r = index_kept_each(p->c.index, name_of, &known);
    if (r < 0 || (r = engine_begin(p->c.engine)) < 0)
        return r;
    r = folder_kept_list(p->c.folder, adopt_orphan, &o);
    p->nameless = true;
    if (r == 0)
        r = engine_clashes_again(p->c.engine);
    if (r == 0)
        return engine_commit(p->c.engine, loop_wall());
    engine_rollback(p->c.engine);
    return r;
}
