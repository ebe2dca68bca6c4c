/* What was there at a snapshot, and that its contents are here. */
#include <stdlib.h>
#include <string.h>

#include "node/api_snapshot.h"
#include "node/log.h"
#include "proto/path.h"

/* ---- life cycle ---- */

static int drop_wants(struct node *n, void *arg)
{
    const struct moment *m = arg;
    int r = 0;
    for (size_t i = 0; r == 0 && i < m->n_items; i++)
        if (m->v[i].asked)
            r = index_want_del(n->index, m->v[i].entry);
    return r;
}

static bool any_asked(const struct moment *m)
{
    for (size_t i = 0; i < m->n_items; i++)
        if (m->v[i].asked)
            return true;
    return false;
}

void moment_free(struct moment *m)
{
    if (m->end)
        m->end(m);
    for (size_t i = 0; i < m->n_items; i++)
        free(m->v[i].name);
    free(m->v);
    free(m->missing);
    hist_free(&m->holders);
    free(m->under);
    dots_release(&m->vector);
    free(m);
}

/* The session has gone. What was wanted only for it would count as something that is still to be synced. */
static void moment_release(void *data)
{
    struct moment *m = data;
    m->s = NULL;
    if (any_asked(m) && api_commit(m->n, drop_wants, m) < 0)
        log_warn("wants are left over why=\"%s\"", err_text());
    if (!m->running)
        moment_free(m);
}

static int find(struct node *n, const char *name, const char *device, const struct snapshot **out)
{
    const struct snapshot *v;
    size_t k;
    int r = engine_snapshots(n->engine, &v, &k);
    for (size_t i = 0; r == 0 && i < k; i++)
        if (strcmp(v[i].name, name) == 0 && (device ? strcmp(member_name(n, &v[i].dev), device) == 0 : v[i].current)) {
            *out = &v[i];
            return 0;
        }
    const char *shown = path_show(name, strlen(name));
    return r < 0 ? r : err_set(ERR_NOTFOUND, "snapshot %s: there is none of that name%s: lanyard snapshot list shows them", shown,
                               device ? " by that device" : "");
}

int moment_new(struct session *s, const char *name, const char *device, const struct bytes *under, size_t size, struct moment **out)
{
    const struct snapshot *t = NULL;
    int r = find(s->n, name, device, &t);
    if (r == 0 && !engine_covers(s->n->engine, &t->vector))
        r = err_set(ERR_AGAIN, "snapshot %s: not all that it names is known here yet: try again when this device is in sync", path_show(name, strlen(name)));
    if (r < 0)
        return r;
    struct moment *m = xcalloc(1, size);
    m->n = s->n;
    m->s = s;
    memcpy(m->name, t->name, sizeof m->name);
    m->time_ms = t->time_ms;
    dots_copy(&m->vector, &t->vector);
    m->underlen = under ? under->len : 0;
    m->under = xcalloc(m->underlen + 1, 1);
    if (m->underlen)
        memcpy(m->under, under->p, m->underlen);
    s->data = m;
    s->release = moment_release;
    *out = m;
    return 0;
}

void moment_again(struct moment *m, int (*check)(struct session *s)) { session_wait(m->s, check, NO_LIMIT, NULL); }
bool moment_stalled(const struct moment *m) { return loop_now() - m->progress > STALLED_MS; }

/* ---- contents ---- */

static int carries_it(struct node *n, int64_t entry, bool *inside)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry ent = {0};
    struct ix_entry row;
    int r = engine_entry(n->engine, entry, &raw, &ent, &row);
    *inside = r == 0 && ent.content.type == CONTENT_INLINE;
    return r;
}

int content_here(struct node *n, const struct ix_entry *row, bool *here)
{
    *here = row->kind != KIND_FILE;
    int r = !*here && row->size <= LIMIT_INLINE ? carries_it(n, row->id, here) : 0;
    if (r == 0 && !*here)
        *here = is_here(n, &row->root, 1);
    return r;
}

/* ---- collect ---- */

static void add(struct moment *m, const struct ix_entry *row, bool deleted, int64_t path, const struct buf *name)
{
    if (m->n_items == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 256;
        m->v = xrealloc(m->v, m->cap, sizeof *m->v);
    }
    struct item *it = &m->v[m->n_items++];
    *it = (struct item){.path = path, .entry = deleted ? 0 : row->id, .kind = row->kind, .size = row->size, .root = row->root, .len = name->len};
    it->name = xcalloc(name->len + 1, 1);
    memcpy(it->name, name->data, name->len);
}

static bool lives(const struct ix_entry *row) { return row->id && row->kind < KIND_TOMBSTONE; }

static int same_file(struct node *n, int64_t a, int64_t b, bool *same)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY), other = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry x = {0}, y = {0};
    struct ix_entry row;
    int r = engine_entry(n->engine, a, &raw, &x, &row);
    if (r == 0)
        r = engine_entry(n->engine, b, &other, &y, &row);
    *same = r == 0 && entry_same(&x, &y) && (x.kind == KIND_DIR || x.mtime_ns == y.mtime_ns);
    return r;
}

static int collect_path(struct moment *m, int64_t path, const struct buf *name, int64_t winner)
{
    struct ix_entry was, now = {0};
    const struct dots *vector = &m->vector;
    bool same = false;
    int r = engine_state_at(m->n->engine, path, &vector, 1, &was);
    if (r == 0 && winner)
        r = index_entry_get(m->n->index, winner, &now, NULL);
    if (r < 0 || (!lives(&was) && !(m->changes && lives(&now))))
        return r;
    m->found = true;
    if (m->changes && was.id == now.id)
        return 0;
    if (m->changes && lives(&was) && lives(&now) && ((r = same_file(m->n, was.id, now.id, &same)) < 0 || same))
        return r;
    add(m, lives(&was) ? &was : &now, !lives(&was), path, name);
    return 0;
}

static bool is_under(const struct moment *m, const struct buf *name)
{
    const char *p = (const char *)name->data;
    if (path_is_own(p, name->len))
        return false;
    return path_beneath(p, name->len, m->under, m->underlen) || (name->len == m->underlen && memcmp(p, m->under, name->len) == 0);
}

static int collect_slice(struct moment *m)
{
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    for (int i = 0; i < SLICE && m->next <= m->last; i++, m->next++) {
        int64_t winner;
        int r = index_path_get(m->n->index, m->next, &name, &winner);
        if (r == 0 && is_under(m, &name))
            r = collect_path(m, m->next, &name, winner);
        if (r < 0 && r != ERR_NOTFOUND)
            return r;
    }
    return 0;
}

/* '/' before everything else, so that what lies in a directory follows it at once. */
static int by_name(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len, i = 0;
    while (i < n && x->name[i] == y->name[i])
        i++;
    if (i == n)
        return (x->len > y->len) - (x->len < y->len);
    int c = x->name[i] == '/' ? 0 : (uint8_t)x->name[i], d = y->name[i] == '/' ? 0 : (uint8_t)y->name[i];
    return c - d;
}

static int check_gather(struct session *s);

static int check_collect(struct session *s)
{
    struct moment *m = s->data;
    int r = collect_slice(m);
    if (r < 0)
        return r;
    if (m->next <= m->last) {
        moment_again(m, check_collect);
        return 0;
    }
    if (m->underlen && !m->found)
        return err_set(ERR_NOTFOUND, "%s: was not there at snapshot %s, and is not now", path_show(m->under, m->underlen), m->name);
    if (m->n_items)
        qsort(m->v, m->n_items, sizeof *m->v, by_name);
    r = m->collected ? m->collected(m) : 1;
    if (r == 1) {
        m->missing = xcalloc(m->n_items + 1, sizeof *m->missing);
        m->progress = loop_now();
        moment_again(m, check_gather);
    }
    return r < 0 ? r : 0;
}

void moment_begin(struct moment *m)
{
    m->next = 1;
    if (index_path_max(m->n->index, &m->last) < 0)
        m->last = 0;
    moment_again(m, check_collect);
}

/* ---- gather ---- */

static struct ix_entry row_of(const struct item *it)
{
    return (struct ix_entry){.id = it->entry, .path = it->path, .kind = it->kind, .size = it->size, .root = it->root};
}

static int nobody_has(const struct moment *m, const struct item *it)
{
    return err_set(ERR_NOTFOUND, "snapshot %s: the content of %s is not on this device, and no device that is online has it: "
                   "try again when others are online", m->name, path_show(it->name, it->len));
}

static int ask_about(struct moment *m, const struct item *it)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry ent = {0};
    struct ix_entry row;
    int r = engine_entry(m->n->engine, it->entry, &raw, &ent, &row);
    if (r == 0)
        hist_add(m->holders, &it->root, ent.content.nblocks);
    return r;
}

/* Notes which contents are not here. 1 = all items have been looked at. */
static int look_slice(struct moment *m)
{
    for (int i = 0; i < SLICE && m->at < m->n_items; i++, m->at++) {
        struct ix_entry row = row_of(&m->v[m->at]);
        bool here = true;
        int r = row.id ? content_here(m->n, &row, &here) : 0;
        if (r == 0 && !here)
            r = ask_about(m, &m->v[m->at]);
        if (r < 0)
            return r;
        if (!here)
            m->missing[m->n_missing++] = m->at;
    }
    return m->at == m->n_items;
}

static int want(struct moment *m, struct item *it)
{
    struct ix_want w;
    struct ix_entry row;
    int r = index_want_get(m->n->index, it->entry, &w);
    if (r != ERR_NOTFOUND)
        return r;
    r = index_entry_get(m->n->index, it->entry, &row, NULL);
    w = (struct ix_want){.entry = row.id, .path = row.path, .stream = row.stream, .seq = row.seq, .size = row.size, .role = WANT_KEEP,
                         .kind = row.kind, .root = row.root};
    if (r == 0)
        r = index_want_put(m->n->index, &w);
    it->asked |= r == 0;
    return r;
}

/* A slice of what is missing is looked at again, from the end: what has come is taken out, the rest is wanted. */
static int fetch_slice(struct node *n, void *arg)
{
    struct moment *m = arg;
    (void)n;
    if (m->at == 0)
        m->at = m->n_missing;
    for (int i = 0; i < SLICE && m->at > 0; i++) {
        struct item *it = &m->v[m->missing[--m->at]];
        struct ix_entry row = row_of(it);
        bool here;
        int r = content_here(m->n, &row, &here);
        if (r == 0 && !here)
            r = want(m, it);
        if (r < 0)
            return r;
        if (!here)
            continue;
        it->asked = false;
        m->missing[m->at] = m->missing[--m->n_missing];
        m->progress = loop_now();
    }
    return 0;
}

static int check_fetch(struct session *s)
{
    struct moment *m = s->data;
    if (!m->n_missing) {
        s->check = NULL;
        m->at = 0;
        return m->go(m);
    }
    int r = api_commit(m->n, fetch_slice, m);
    if (r == 0 && m->at > 0)
        moment_again(m, check_fetch);    /* the next slice; after the last one a while later */
    if (r == 0 && moment_stalled(m)) {
        const struct item *it = &m->v[m->missing[0]];
        return err_set(ERR_NOTFOUND, "snapshot %s: %zu contents are not on this device, and no device that is online has sent one of them within "
                       "%u s, among them %s: try again later", m->name, m->n_missing, STALLED_MS / 1000, path_show(it->name, it->len));
    }
    return r;
}

/* Begun only when there is hope for all of it. */
static int check_holders(struct session *s)
{
    struct moment *m = s->data;
    struct id dev;
    if (!hist_over(m->holders))
        return 0;
    for (size_t i = 0; i < m->n_missing; i++)
        if (!hist_holders(m->holders, &m->v[m->missing[i]].root, &dev, 1))
            return nobody_has(m, &m->v[m->missing[i]]);
    m->progress = loop_now();
    moment_again(m, check_fetch);
    return 0;
}

static void on_news(void *api) { api_poll(api); }

static int check_gather(struct session *s)
{
    struct moment *m = s->data;
    if (!m->holders)
        m->holders = hist_new(m->n->peers, control_group(m->n->home->control));
    int r = look_slice(m);
    if (r < 0)
        return r;
    if (r == 1) {
        m->at = 0;
        hist_ask(m->holders, NULL, 0, on_news, s->api);
    }
    moment_again(m, r == 1 ? check_holders : check_gather);
    return 0;
}
