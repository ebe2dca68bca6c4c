/* Indexes that are lost, or that somebody replaces by an older copy. The continuity tokens tell the device, as in node/continuity. */
#include <string.h>

#include "tests/sim/sim.h"

void index_copy(struct world *w, sqlite3 *to, sqlite3 *from)
{
    sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");
    if (!b || sqlite3_backup_step(b, -1) != SQLITE_DONE || sqlite3_backup_finish(b) != SQLITE_OK)
        fail(w, "the index cannot be copied");
}

void index_empty(struct world *w, int i)
{
    struct index *ix = w->d[i].index;
    static const char all[] = "DELETE FROM kv; DELETE FROM stream; DELETE FROM header; DELETE FROM pruned; DELETE FROM path; DELETE FROM entry;"
                              "DELETE FROM local; DELETE FROM want; DELETE FROM conflict; DELETE FROM tree; DELETE FROM block; DELETE FROM kept; DELETE FROM alive";
    if (sqlite3_exec(ix->db, all, NULL, NULL, NULL) != SQLITE_OK)
        fail(w, "d%d: the index cannot be emptied: %s", i, sqlite3_errmsg(ix->db));
    ix->want = (struct ix_totals){0};
}

static void stop(struct world *w, int i, bool doubt)
{
    if (w->d[i].engine)
        device_crash(w, i);
    w->d[i].lost_index = true;
    w->d[i].doubt = doubt;
    again_forget(w, i);
}

static void lose(struct world *w, int i)
{
    tell(w, "d%d: index lost", i);
    stop(w, i, true);
    index_empty(w, i);
}

static void back_up(struct world *w, int i)
{
    struct backup *b = &w->d[i].backup;
    if (!b->db && sqlite3_open(":memory:", &b->db) != SQLITE_OK)
        fail(w, "no room for a copy of an index");
    tell(w, "d%d: index backed up", i);
    index_copy(w, b->db, w->d[i].index->db);
    b->want = w->d[i].index->want;
    memcpy(b->at, w->d[i].disk.at, sizeof b->at);
    b->nkept = w->d[i].disk.nkept;
    b->has = true;
}

/* With the disk, and the device's own memory of what it was in doubt of: only its peers can tell then. */
static void restore(struct world *w, int i, bool all)
{
    struct backup *b = &w->d[i].backup;
    tell(w, "d%d: older index restored%s", i, all ? ", and its disk" : "");
    stop(w, i, !all);
    if (all) {
        memcpy(w->d[i].disk.at, b->at, sizeof b->at);
        w->d[i].disk.nkept = b->nkept;
    }
    index_copy(w, w->d[i].index->db, w->d[i].backup.db);
    w->d[i].index->want = w->d[i].backup.want;
    if (all)
        model_forget(w, i);
}

void accidents(struct world *w, int i)
{
    if (chance(w, w->faults.index_lost))
        lose(w, i);
    bool index = chance(w, w->faults.index_restored), all = chance(w, w->faults.all_restored);
    if (!index && !all)
        return;
    if (w->d[i].backup.has && chance(w, 40))
        restore(w, i, all);
    else if (!w->d[i].doubt)
        back_up(w, i);
}
