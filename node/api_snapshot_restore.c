/* Bringing back the state of a snapshot: a new version of everything that is not as it was. The pull puts them in place and keeps what it
 * displaces, as it does with versions of peers; all contents are here before the first one is written.
 *
 * What is to go goes first, and the deepest of it: then nothing that lives is left beneath a path that becomes a file again. */
#include <stdlib.h>
#include <string.h>

#include "node/api_snapshot.h"
#include "node/lock.h"
#include "node/note.h"
#include "proto/path.h"

enum { BATCH = 256 };

struct restore { struct moment m; bool dry_run; uint64_t deleted, bytes; };

static const char *const kinds[] = {[KIND_FILE] = "file", [KIND_DIR] = "dir", [KIND_SYMLINK] = "symlink"};

static void reply(struct restore *c)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    const struct moment *m = &c->m;
    mp_put_map(&b, 5);
    put_text(&b, "snapshot", m->name);
    put_u64(&b, "restored", m->n_items - c->deleted);
    put_u64(&b, "deleted", c->deleted);
    put_u64(&b, "bytes", c->bytes);
    mp_put_str(&b, "changes");
    mp_put_array(&b, m->n_items);
    for (size_t i = 0; i < m->n_items; i++) {
        const struct item *it = &m->v[i];
        mp_put_map(&b, 4);
        put_text(&b, "change", it->entry ? "restore" : "delete");
        put_text(&b, "kind", kinds[it->kind]);
        put_u64(&b, "size", it->size);
        put_path(&b, "path", it->name, it->len);
    }
    session_reply(m->s, false, &b);
}

/* ---- in place ---- */

static int is_install(void *arg, const struct ix_want *w) { (void)arg; return w->role == WANT_INSTALL; }

static int late(const struct restore *c)
{
    const char *why;
    (void)node_state(c->m.n, &why);
    err_set(ERR_TIMEOUT, "snapshot %s: is recorded, but %s was not put in place within %u s%s%s: see lanyard status", c->m.name,
            path_show(c->m.v[c->m.at].name, c->m.v[c->m.at].len), STALLED_MS / 1000, why ? ": " : "", why ? why : "");
    session_fail(c->m.s, EXIT_TIMED_OUT, err_text());
    return 0;
}

static int check_placed(struct session *s)
{
    struct restore *c = s->data;
    struct moment *m = &c->m;
    for (int i = 0; i < SLICE && m->at < m->n_items; i++, m->at++) {
        int r = index_want_of_path(m->n->index, m->v[m->at].path, is_install, NULL);
        if (r == 1)
            return moment_stalled(m) ? late(c) : 0;
        if (r < 0)
            return r;
        m->progress = loop_now();
    }
    if (m->at < m->n_items)
        moment_again(m, check_placed);
    else
        reply(c);
    return 0;
}

/* ---- recorded ---- */

static int write_batch(struct node *n, void *arg)
{
    struct moment *m = arg;
    int r = 0;
    for (int i = 0; r == 0 && i < BATCH && m->at < m->n_items; i++, m->at++)
        r = engine_restore(n->engine, m->v[m->at].path, m->v[m->at].entry, loop_wall());
    return r;
}

static int check_written(struct session *s)
{
    struct moment *m = s->data;
    int r = api_commit(m->n, write_batch, m);
    if (r < 0)
        return r;
    bool over = m->at == m->n_items;
    if (over) {
        uint64_t deleted = ((const struct restore *)m)->deleted;
        note_put(m->n, &(struct note){.what = NOTE_STR("restored"), .path = {(const uint8_t *)m->under, m->underlen}, .name = NOTE_STR(m->name),
                                      .files = m->n_items - deleted, .deleted = deleted});
        m->at = 0;
        m->progress = loop_now();
    }
    moment_again(m, over ? check_placed : check_written);
    return 0;
}

static int by_turn(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (!x->entry != !y->entry)
        return x->entry ? 1 : -1;
    size_t n = x->len < y->len ? x->len : y->len;
    int c = memcmp(x->name, y->name, n);
    c = c ? c : (x->len > y->len) - (x->len < y->len);
    return x->entry ? c : -c;
}

static int begin_writing(struct moment *m)
{
    if (m->n_items)
        qsort(m->v, m->n_items, sizeof *m->v, by_turn);
    moment_again(m, check_written);
    return 0;
}

/* ---- before ---- */

static int counted(struct moment *m)
{
    struct restore *c = (struct restore *)m;
    for (size_t i = 0; i < m->n_items; i++) {
        c->deleted += !m->v[i].entry;
        c->bytes += m->v[i].entry ? m->v[i].size : 0;
    }
    if (!c->dry_run)
        return 1;
    reply(c);
    return 0;
}

/* What the user has just done to the folder is recorded first: it would be in the way, and it stays as a version. */
static int check_before(struct session *s)
{
    int r = snapshot_scanned(s);
    if (r == 1)
        moment_begin(s->data);
    return r < 0 ? r : 0;
}

int snapshot_restore(struct session *s, const char *name, const char *device, const struct bytes *under, bool dry_run)
{
    struct moment *m;
    int r = need_folder(s->n);
    if (r == 0)
        r = need_writer(s->n);
    if (r == 0 && !dry_run)
        r = need_unlocked(s->n);
    if (r == 0)
        r = moment_new(s, name, device, under, sizeof(struct restore), &m);
    if (r < 0)
        return r;
    ((struct restore *)m)->dry_run = dry_run;
    m->changes = true;
    m->collected = counted;
    m->go = begin_writing;
    scan_all(s->n->scan);
    session_wait(s, check_before, NO_LIMIT, NULL);
    return 0;
}
