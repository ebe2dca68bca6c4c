#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/log.h"
#include "node/pull_priv.h"
#include "proto/path.h"

enum { RETRY_MS = 400, FAILED_MS = 2000, SHELVE_MS = 1000, SEEK_MS = 1000, SHELVE_MAX = 512 };

/* ---- lists ---- */

void items_add(struct items *l, struct item *it)
{
    it->prev_item = l->tail;
    it->next_item = NULL;
    *(l->tail ? &l->tail->next_item : &l->head) = it;
    l->tail = it;
    l->n++;
}

void items_del(struct items *l, struct item *it)
{
    *(it->prev_item ? &it->prev_item->next_item : &l->head) = it->next_item;
    *(it->next_item ? &it->next_item->prev_item : &l->tail) = it->prev_item;
    l->n--;
}

/* ---- which wants have an item ---- */

bool item_known(const struct pull *p, int64_t entry) { return pathset_get(&p->entries, (const char *)&entry, sizeof entry, NULL); }
void item_claim(struct pull *p, int64_t entry) { pathset_put(&p->entries, (const char *)&entry, sizeof entry, 0); }
void item_unclaim(struct pull *p, int64_t entry) { pathset_del(&p->entries, (const char *)&entry, sizeof entry); }

/* A content as an entry describes it: others may describe the same root otherwise, and wait for what will never be. */
struct root_key { struct id root; uint32_t nblocks; uint64_t size; } __attribute__((packed));

static struct root_key root_key(const struct item *it) { return (struct root_key){it->ent.content.root, it->ent.content.nblocks, it->ent.size}; }

/* ---- life of an item ---- */

void item_state(struct pull *p, struct item *it, enum item_state s)
{
    p->ready -= it->state == ITEM_READY;
    p->listing -= it->state == ITEM_LIST;
    it->state = s;
    p->listing += s == ITEM_LIST;
    if (s == ITEM_BLOCKS)
        p->asked_to = NULL;
    if (it->late && s != ITEM_LIST && s != ITEM_BLOCKS)
        sources_forget(p, it);
    p->ready += s == ITEM_READY;
    if (s == ITEM_READY || s == ITEM_BLOCKS)
        share_news(p, it, -1);
}

void item_release_root(struct pull *p, struct item *it)
{
    struct root_key key = root_key(it);
    if (it->way != WAY_FETCH)
        return;
    pathset_del(&p->roots, (const char *)&key, sizeof key);
    it->way = WAY_PLAIN;
}

/* Back to nothing known about where its content is. The download on disk stays. */
static void reset(struct pull *p, struct item *it)
{
    if (it->fd >= 0)
        close(it->fd);
    it->fd = -1;
    free(it->have);
    free(it->asked);
    free(it->offset);
    free(it->from);
    it->have = it->asked = NULL;
    it->offset = NULL;
    it->from = NULL;
    it->missing = it->next = 0;
    it->futile = 0;
    it->list_looked = it->unsafe = false;
    share_drop(it);
    list_drop(p, it);
    if (it->from_entry) {
        item_unclaim(p, it->from_entry);
        if (!p->freeing)
            pull_kick(p);                /* the removal was passed over when the wants were gone through */
    }
    it->from_entry = 0;
    item_release_root(p, it);
    it->way = WAY_PLAIN;
}

/* A download that is not wanted any more. At the end of the node it stays, to be gone on with. */
static void drop_download(struct pull *p, const struct item *it)
{
    if (it->tmp[0] && !it->placed && !p->freeing && folder_tmp_remove(p->c.folder, it->tmp) < 0)
        log_warn("%s", err_text());
}

static void destroy(struct pull *p, struct item *it)
{
    drop_download(p, it);
    share_news(p, it, -1);
    item_unclaim(p, it->want.entry);
    reset(p, it);
    if (p->asked_to == it)
        p->asked_to = it->prev_item;
    items_del(&p->all, it);
    entry_release(&it->ent);
    buf_release(&it->raw);
    free(it->path);
    free(it);
    if (!p->all.n)
        pull_wake(p, 0);
}

void item_unref(struct pull *p, struct item *it)
{
    assert(it->refs > 0);
    if (--it->refs == 0 && it->cancelled)
        destroy(p, it);
}

void item_done(struct pull *p, struct item *it)
{
    item_state(p, it, ITEM_DELAYED);
    it->cancelled = true;
    it->due = UINT64_MAX;
    if (it->refs == 0)
        destroy(p, it);
}

bool item_outdated(struct pull *p, struct item *it)
{
    struct ix_want now;
    if (index_want_get(p->c.index, it->want.entry, &now) == 0)
        return false;
    item_done(p, it);
    return true;
}

void item_fail(struct pull *p, struct item *it, uint64_t in_ms)
{
    it->failures++;
    it->due = loop_now() + in_ms;
    p->due = it->due < p->due ? it->due : p->due;
    item_state(p, it, ITEM_DELAYED);
    pull_wake(p, in_ms);
}

void item_set_aside(struct pull *p, struct item *it, uint64_t for_ms)
{
    item_fail(p, it, for_ms);
    assert(it->refs == 0);
    reset(p, it);
}

/* Items that nobody serves leave their places to other wants. They come again when the wants are gone through anew. */
static void shelve(struct pull *p)
{
    unsigned n = 0;
    pull_wake(p, SHELVE_MS);
    if (loop_now() < p->shelved + SHELVE_MS)
        return;
    p->shelved = loop_now();
    for (struct item *it = p->all.head, *next; it && n < SHELVE_MAX; it = next) {
        next = it->next_item;
        if (!item_unserved(p, it))
            continue;
        item_state(p, it, ITEM_DELAYED);
        it->tmp[0] = '\0';               /* its download stays */
        destroy(p, it);
        n++;
    }
}

/* ---- beginning ---- */

/* Whether only mode and time differ from what lies there. */
static bool content_is_there(struct pull *p, const struct item *it, struct ix_local *l)
{
    struct ix_entry row;
    if (it->want.role != WANT_INSTALL || index_local_get(p->c.index, it->want.path, l) < 0 ||
        l->apart || index_entry_get(p->c.index, l->entry, &row, NULL) < 0)
        return false;
    return row.kind == it->ent.kind && row.kind == KIND_FILE && row.size == it->ent.size && id_eq(&row.root, &it->ent.content.root);
}

static void begin_content(struct pull *p, struct item *it)
{
    struct ix_local l;
    it->way = WAY_PLAIN;
    bool none = it->want.role == WANT_HIDE || it->ent.kind != KIND_FILE || content_is_there(p, it, &l);
    if (!none && !it->tried_move && local_move(p, it))
        return;
    if (none || it->ent.content.type == CONTENT_INLINE) {
        item_state(p, it, ITEM_READY);
        return;
    }
    if (!it->tried_copy && local_copy(p, it))
        return;
    /* The same content is being fetched for another path: afterwards it can be copied. */
    struct root_key key = root_key(it);
    if (pathset_get(&p->roots, (const char *)&key, sizeof key, NULL)) {
        it->tried_copy = false;
        item_fail(p, it, RETRY_MS);
        return;
    }
    pathset_put(&p->roots, (const char *)&key, sizeof key, 0);
    it->way = WAY_FETCH;
    if (it->ent.content.nblocks == 1) {
        snprintf(it->tmp, sizeof it->tmp, "f-%llx", (unsigned long long)it->want.entry);
        it->missing = 1;
        it->have = xcalloc(1, 1);
        it->asked = xcalloc(1, 1);
        item_state(p, it, ITEM_BLOCKS);
        return;
    }
    item_state(p, it, ITEM_LIST);
}

static void begin(struct pull *p, struct item *it)
{
    if (item_outdated(p, it))
        return;
    reset(p, it);
    begin_content(p, it);
}

/* A want that local rules exclude is not for this disk: it counts as fulfilled here. What lies there is left alone, also when it is to be
 * removed elsewhere. engine_rules makes the want anew when the rules change. */
static bool excluded(struct pull *p, const struct item *it)
{
    return it->want.role == WANT_INSTALL && p->c.ops.ignored(p->c.ops.arg, it->path, it->len, it->ent.kind == KIND_DIR);
}

static int exclude(struct pull *p, const struct item *it)
{
    int r = engine_begin(p->c.engine);
    if (r == 0 && (r = index_want_del(p->c.index, it->want.entry)) == 0)
        r = index_local_del(p->c.index, it->want.path);
    if (r == 0)
        return engine_commit(p->c.engine, loop_wall());
    if (index_in_tx(p->c.index))
        engine_rollback(p->c.engine);
    return r;
}

static struct item *item_new(struct pull *p, const struct ix_want *w)
{
    struct item *it = xcalloc(1, sizeof *it);
    p->untidy = true;
    it->want = *w;
    it->fd = -1;
    it->raw = (struct buf)BUF_INIT(LIMIT_ENTRY);
    it->list = (struct buf)BUF_INIT((size_t)LIMIT_BLOCKS * BLOCK_REF);
    it->state = ITEM_DELAYED;
    items_add(&p->all, it);
    item_claim(p, w->entry);
    struct ix_entry row;
    if (engine_entry(p->c.engine, w->entry, &it->raw, &it->ent, &row) < 0) {
        log_seldom(LOG_WARN, "index: %s", err_text());
        item_done(p, it);                /* its want stays, and is tried again at the next kick */
        return NULL;
    }
    it->len = it->ent.path.len;
    it->path = xcalloc(it->len + 1, 1);
    memcpy(it->path, it->ent.path.p, it->len);
    return it;
}

struct wants { struct pull *p; struct ix_want v[512]; size_t n; };

static bool allowed(const struct pull *p, const struct ix_want *w)
{
    return !p->c.ops.allowed || p->c.ops.allowed(p->c.ops.arg, w);
}

static int collect(void *arg, const struct ix_want *w)
{
    struct wants *ws = arg;
    if (!allowed(ws->p, w))
        return 0;
    ws->v[ws->n++] = *w;
    return ws->n == sizeof ws->v / sizeof *ws->v;
}

/* Those that are not for this disk are left to the end: until then nothing is written, and all is read as one. */
static void start_items(struct pull *p, const struct wants *ws)
{
    struct item *out[sizeof ws->v / sizeof *ws->v];
    size_t n = 0;
    bool reading = index_read_begin(p->c.index) == 0;
    for (size_t i = 0; i < ws->n; i++) {
        p->cursor = ws->v[i].entry;
        struct item *it = item_known(p, ws->v[i].entry) ? NULL : item_new(p, &ws->v[i]);
        if (it && excluded(p, it))
            out[n++] = it;
        else if (it)
            begin_content(p, it);
    }
    if (reading)
        index_read_end(p->c.index);
    for (size_t i = 0; i < n; i++) {
        if (exclude(p, out[i]) == 0)
            item_done(p, out[i]);
        else
            begin(p, out[i]);
    }
}

static void fill(struct pull *p)
{
    while (p->more && p->all.n < ITEMS_MAX) {
        struct wants ws = {.p = p};
        if (index_want_each(p->c.index, p->cursor, collect, &ws) < 0) {
            log_warn("index: %s", err_text());
            return;
        }
        start_items(p, &ws);
        if (ws.n == sizeof ws.v / sizeof *ws.v)
            continue;
        p->more = p->again;
        p->again = false;
        p->cursor = 0;
    }
    if (p->more)
        shelve(p);
}

/* ---- going on ---- */

/* Content that nobody serves may have come to this disk another way since it was looked for: another file with it is in its place, or
 * has lain still for long enough to be trusted. */
static void seek(struct pull *p)
{
    uint64_t now = loop_now();
    if (!p->seek)
        return;
    if (now < p->sought + SEEK_MS) {
        pull_wake(p, p->sought + SEEK_MS - now);
        return;
    }
    p->seek = false;
    for (struct item *it = p->all.head, *next; it; it = next) {
        next = it->next_item;
        if (!item_unserved(p, it))
            continue;
        p->sought = now;
        if (item_outdated(p, it) || !local_has(p, it))
            continue;
        it->tried_copy = false;
        item_fail(p, it, 0);
    }
}

/* What jobs or requests still point to is begun when they have ended. */
static void begin_due(struct pull *p, uint64_t now)
{
    p->due = UINT64_MAX;
    for (struct item *it = p->all.head, *n; it; it = n) {
        n = it->next_item;
        if (it->state != ITEM_DELAYED || it->cancelled)
            continue;
        if (it->due <= now && it->refs == 0)
            begin(p, it);
        else
            p->due = it->due < p->due ? it->due : p->due;
    }
}

static void restart_due(struct pull *p)
{
    uint64_t now = loop_now();
    if (p->due <= now)
        begin_due(p, now);
    if (p->due != UINT64_MAX && p->due > now)
        pull_wake(p, p->due - now);
}

/* The trouble ends when the last item that was in it has been placed, or is not wanted any more. */
static void end_trouble(struct pull *p)
{
    for (const struct item *it = p->all.head; it; it = it->next_item)
        if (it->troubled && !it->cancelled)
            return;
    pull_set_failed(p, NULL);
}

static void pump(void *arg)
{
    struct pull *p = arg;
    restart_due(p);
    if (p->failed)
        end_trouble(p);
    fill(p);
    seek(p);
    fetch_pump(p);
    place_pump(p);
    kept_pump(p);
    found_pump(p);
    downloads_tidy(p);
}

void pull_wake(struct pull *p, uint64_t in_ms)
{
    if (!p->freeing && (!p->timer.set || p->timer.due > loop_now() + in_ms))
        loop_timer_set(p->c.loop, &p->timer, in_ms, pump, p);
}

void pull_kick(struct pull *p)
{
    p->again = p->more;
    p->more = p->seek = true;
    pull_wake(p, 0);
}

bool item_allowed(struct pull *p, struct item *it)
{
    if (allowed(p, &it->want))
        return true;
    item_state(p, it, ITEM_DELAYED);
    if (it->refs) {
        item_fail(p, it, SHELVE_MS);
        return false;
    }
    it->tmp[0] = '\0';                   /* its download stays */
    destroy(p, it);
    return false;
}

/* What is fetched just now is finished, and not put in place; the rest gives up its place. */
void pull_choose_anew(struct pull *p)
{
    for (struct item *it = p->all.head, *next; it; it = next) {
        next = it->next_item;
        if (!it->refs && !it->cancelled)
            (void)item_allowed(p, it);
    }
    p->cursor = 0;
    pull_kick(p);
}

void pull_set_failed(struct pull *p, const char *text)
{
    if (!text && !p->failed)
        return;
    p->failed = text != NULL;
    p->c.ops.failed(p->c.ops.arg, text);
}

bool pull_busy(const struct pull *p, const char *path, size_t len) { return pathset_get(&p->busy, path, len, NULL); }
bool pull_placing(const struct pull *p) { return p->placing; }
bool pull_idle(const struct pull *p) { return !p->placing && !p->ready && !p->fetching; }
void pull_figures(const struct pull *p, struct pull_figures *out) { *out = p->figures; }

int pull_new(const struct pull_config *c, struct pull **out)
{
    struct pull *p = xcalloc(1, sizeof *p);
    p->c = *c;
    p->lists_max = PULL_LISTS_BYTES;
    p->due = UINT64_MAX;
    p->down = (struct rate){.plan = c->down, .at = loop_now()};
    int r = place_clean_up(p);
    if (r < 0) {
        pull_free(&p);
        return r;
    }
    pull_kick(p);
    if (p->c.serve)
        serve_unfinished(p->c.serve, share_part, p);
    *out = p;
    return 0;
}

/* Pool and peers have been freed before: no job and no request points to an item any more. */
void pull_free(struct pull **pp)
{
    struct pull *p = *pp;
    if (!p)
        return;
    p->freeing = true;
    if (p->c.serve)
        serve_unfinished(p->c.serve, NULL, NULL);
    loop_timer_clear(p->c.loop, &p->timer);
    while (p->all.head)
        destroy(p, p->all.head);
    fetch_release(p);
    found_release(p);
    pathset_release(&p->entries);
    pathset_release(&p->roots);
    pathset_release(&p->busy);
    pathset_release(&p->kept);
    free(p);
    *pp = NULL;
}
