#include "node/scan_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/log.h"
#include "proto/path.h"

enum { SETTLE_MS = 15, BUSY_MS = 40, HINTS_MAX = 20000, BRAKE_MIN = 100, BRAKE_PART = 4, RETRY_MS = 2000 };
#define FULL_PERIOD_MS (3600u * 1000)
#define FULL_PERIOD_UNWATCHED_MS (60u * 1000)
#define RULES_FILE ".lanyardignore"
#define RULES_LOCAL ".lanyard/ignore"

static void on_timer(void *arg);

/* ---- hints ---- */

void hints_add(struct hints *h, const char *path, size_t len, bool deep, uint64_t due)
{
    if (h->n == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 32;
        h->v = xrealloc(h->v, h->cap, sizeof *h->v);
    }
    char *copy = xcalloc(len + 1, 1);
    memcpy(copy, path, len);
    h->v[h->n++] = (struct hint){copy, len, deep, due};
}

void hints_release(struct hints *h)
{
    for (size_t i = 0; i < h->n; i++)
        free(h->v[i].path);
    free(h->v);
    *h = (struct hints){0};
}

static int by_path(const void *a, const void *b)
{
    const struct hint *x = a, *y = b;
    int r = strcmp(x->path, y->path);
    return r ? r : (int)y->deep - (int)x->deep;
}

/* One look a path, however often it was named; the deep one wins. */
static void hints_unique(struct hints *h)
{
    qsort(h->v, h->n, sizeof *h->v, by_path);
    size_t n = 0;
    for (size_t i = 0; i < h->n; i++)
        if (n && strcmp(h->v[n - 1].path, h->v[i].path) == 0)
            free(h->v[i].path);
        else
            h->v[n++] = h->v[i];
    h->n = n;
}

void scan_wake(struct scan *s, uint64_t in_ms)
{
    uint64_t due = loop_now() + in_ms;
    if (!s->timer.set || s->timer.due > due)
        loop_timer_set(s->c.loop, &s->timer, in_ms, on_timer, s);
}

void scan_later(struct scan *s, const char *path, size_t len, uint64_t in_ms)
{
    hints_add(&s->later, path, len, false, loop_now() + in_ms);
    scan_wake(s, in_ms);
}

void scan_hint(struct scan *s, const char *path, size_t len, bool deep)
{
    if (len == 0 || s->soon.n > HINTS_MAX)
        s->full_wanted = true;
    else if (!s->full_wanted || s->looking)
        hints_add(&s->soon, path, len, deep, 0);
    if (len == strlen(RULES_FILE) && memcmp(path, RULES_FILE, len) == 0)
        s->rules_changed = s->full_wanted = true;
    scan_wake(s, SETTLE_MS);
}

static void on_changed(void *arg, const char *path, size_t len, bool deep) { scan_hint(arg, path, len, deep); }

void scan_all(struct scan *s)
{
    s->full_wanted = true;
    scan_wake(s, 0);
}

/* ---- ignore rules ---- */

static int read_rules(struct scan *s, struct ignore *ig, const char *path)
{
    AUTOFREE char *full = NULL;
    if (asprintf(&full, "%s/%s", folder_path(s->c.folder), path) < 0)
        return err_set(ERR_FULL, "%s: no memory", path);
    int fd = open(full, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_set(ERR_IO, "%s: %m", path);
    AUTO(buf_release) struct buf text = BUF_INIT(IGNORE_TEXT);
    char piece[8192];
    for (ssize_t n; (n = read(fd, piece, sizeof piece)) > 0; )
        buf_add(&text, piece, (size_t)n);
    close(fd);
    return buf_ok(&text) ? ignore_load(ig, (const char *)text.data, text.len, path)
                         : err_set(ERR_BAD, "%s: longer than %u bytes", path, IGNORE_TEXT);
}

/* Rules that cannot be read leave the old ones in force: forgetting them would publish what was meant to stay private. */
static void load_rules(struct scan *s)
{
    struct ignore *ig = ignore_new();
    int r = read_rules(s, ig, RULES_FILE);
    if (r == 0)
        r = read_rules(s, ig, RULES_LOCAL);
    s->rules_changed = false;
    if (r < 0) {
        s->c.ops.trouble(s->c.ops.arg, RULES_FILE, strlen(RULES_FILE), err_text());
        ignore_free(&ig);
        return;
    }
    ignore_free(&s->ignore);
    s->ignore = ig;
}

bool scan_ignored(struct scan *s, const char *path, size_t len, bool is_dir)
{
    return ignore_match_deep(s->ignore, path, len, is_dir);
}

/* ---- starting a look ---- */

static void move_due(struct scan *s)
{
    uint64_t now = loop_now(), next = UINT64_MAX;
    size_t n = 0;
    for (size_t i = 0; i < s->later.n; i++) {
        struct hint *h = &s->later.v[i];
        if (h->due <= now) {
            hints_add(&s->soon, h->path, h->len, h->deep, 0);
            free(h->path);
        } else {
            next = h->due < next ? h->due : next;
            s->later.v[n++] = *h;
        }
    }
    s->later.n = n;
    if (next != UINT64_MAX)
        scan_wake(s, next - now);
}

static void begin_full(struct scan *s)
{
    int64_t max = 0;
    if (index_path_max(s->c.index, &max) < 0)
        log_warn("index: %s", err_text());
    s->seen_bits = (size_t)max + 1;
    free(s->seen);
    s->seen = xcalloc(s->seen_bits / 8 + 1, 1);
    s->counting = (struct scan_figures){0};
    s->full_wanted = false;
    s->next_full = loop_now() + s->full_period;
    load_rules(s);
}

static void begin_look(struct scan *s)
{
    watch_drain(s->watch);
    s->full_look = s->full_wanted;
    if (s->full_look) {
        begin_full(s);
        hints_release(&s->soon);
    }
    if (s->rules_changed)
        load_rules(s);
    hints_unique(&s->soon);
    s->looking = true;
    look_start(s, &s->soon, s->full_look);
}

static void on_timer(void *arg)
{
    struct scan *s = arg;
    if (s->stopped || s->looking)
        return;
    move_due(s);
    if (loop_now() >= s->next_full)
        s->full_wanted = true;
    if (s->soon.n || s->full_wanted)
        begin_look(s);
    else
        scan_wake(s, s->next_full - loop_now());
}

/* ---- what a look found ---- */

static void add_missing(struct scan *s, const char *path, size_t len, const struct ix_local *l)
{
    if (s->nmissing == s->missing_cap) {
        s->missing_cap = s->missing_cap ? 2 * s->missing_cap : 64;
        s->missing = xrealloc(s->missing, s->missing_cap, sizeof *s->missing);
    }
    char *copy = xcalloc(len + 1, 1);
    memcpy(copy, path, len);
    s->missing[s->nmissing++] = (struct missing){.path = copy, .len = len, .local = *l};
}

static int missing_beneath(void *arg, const struct ix_local *l, const char *name, size_t len)
{
    add_missing(arg, name, len, l);
    return 0;
}

/* What was on disk here is gone, with all that was beneath it. */
static void see_absent(struct scan *s, const char *path, size_t len, const struct ix_local *l)
{
    if (l)
        add_missing(s, path, len, l);
    if (index_local_beneath(s->c.index, path, len, missing_beneath, s) < 0)
        log_warn("index: %s", err_text());
}

static void see_trouble(struct scan *s, const char *path, size_t len, const char *text, size_t textlen)
{
    hints_add(&s->unreadable, path, len, false, 0);
    if (pathset_get(&s->told, path, len, NULL))
        return;
    pathset_put(&s->told, path, len, 1);
    char line[256];
    snprintf(line, sizeof line, "%.*s", (int)textlen, text);
    s->c.ops.trouble(s->c.ops.arg, path, len, line);
}

static int class_before(struct scan *s, const struct ix_local *l)
{
    struct ix_entry row;
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry ent = {0};
    if (!l || engine_entry(s->c.engine, l->entry, &raw, &ent, &row) < 0 || ent.content.type != CONTENT_BLOCKS)
        return -1;
    return ent.content.class;
}

static void add_fresh(struct scan *s, const char *path, size_t len, const struct stamp *st)
{
    if (s->nfresh == s->fresh_cap) {
        s->fresh_cap = s->fresh_cap ? 2 * s->fresh_cap : 64;
        s->fresh = xrealloc(s->fresh, s->fresh_cap, sizeof *s->fresh);
    }
    char *copy = xcalloc(len + 1, 1);
    memcpy(copy, path, len);
    s->fresh[s->nfresh++] = (struct candidate){copy, len, *st, -1};
}

static struct fact plain_fact(const char *path, size_t len, const struct stamp *st)
{
    char *copy = xcalloc(len + 1, 1);
    memcpy(copy, path, len);
    return (struct fact){.kind = FACT_SEEN, .path = copy, .len = len, .st = *st, .settled = true};
}

static void see_symlink(struct scan *s, const char *path, size_t len, const struct stamp *st, const void *target, size_t n)
{
    if (n == 0 || n > LIMIT_INLINE) {
        const char *why = "symlink: its target is longer than 1024 bytes: not synced";
        see_trouble(s, path, len, why, strlen(why));
        return;
    }
    struct fact f = plain_fact(path, len, st);
    f.content = (struct content_list){.type = CONTENT_INLINE, .size = n, .inline_len = n, .root = id_hash(target, n)};
    memcpy(f.content.inline_bytes, target, n);
    take_fact(s, f);
}

static void see_different(struct scan *s, const struct sights *p, const struct sight *v, const struct ix_local *l)
{
    const char *path = p->bytes + v->path;
    /* A directory that became something else took all that was in it along. */
    if (l && l->stamp.kind == STAMP_DIR && v->st.kind != STAMP_DIR)
        see_absent(s, path, v->len, NULL);
    switch (v->st.kind) {
    case STAMP_DIR:
        take_fact(s, plain_fact(path, v->len, &v->st));
        break;
    case STAMP_SYMLINK:
        see_symlink(s, path, v->len, &v->st, p->bytes + v->target, v->targetlen);
        break;
    case STAMP_FILE:
        if (l)
            take_file(s, path, v->len, &v->st, class_before(s, l));
        else
            add_fresh(s, path, v->len, &v->st);
        break;
    case STAMP_SPECIAL: {
        const char *why = "neither file, directory nor symlink: not synced";
        see_trouble(s, path, v->len, why, strlen(why));
        break;
    }
    case STAMP_ABSENT:
        break;
    }
}

static void see(struct scan *s, const struct sights *p, const struct sight *v)
{
    const char *path = p->bytes + v->path;
    struct ix_local l;
    int64_t id = 0;
    int r = index_path_id(s->c.index, path, v->len, false, &id);
    if (r == 0 && (size_t)id < s->seen_bits && s->seen)
        s->seen[id / 8] |= (uint8_t)(1u << (id % 8));
    if (s->c.ops.busy(s->c.ops.arg, path, v->len)) {
        scan_later(s, path, v->len, BUSY_MS);
        return;
    }
    bool have = r == 0 && index_local_get(s->c.index, id, &l) == 0;
    if (v->st.kind == STAMP_ABSENT) {
        see_absent(s, path, v->len, have ? &l : NULL);
        return;
    }
    s->counting.files += v->st.kind == STAMP_FILE;
    if (have && stamp_same(&l.stamp, &v->st)) {
        if (!l.settled && v->st.kind == STAMP_FILE)
            take_file(s, path, v->len, &v->st, class_before(s, &l));
        return;
    }
    see_different(s, p, v, have ? &l : NULL);
}

void scan_on_sights(struct scan *s, const struct sights *p)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct sight *v = &p->v[i];
        const char *path = p->bytes + v->path;
        if (v->wd >= 0)
            watch_bind(s->watch, v->wd, path, v->len);
        if (v->trouble)
            see_trouble(s, path, v->len, p->bytes + v->target, v->targetlen);
        else if (v->len)
            see(s, p, v);
    }
    take_pump(s);
}

/* ---- absences and renames, at the end of a look ---- */

static int unseen(void *arg, const struct ix_local *l)
{
    struct scan *s = arg;
    if ((size_t)l->path < s->seen_bits && (s->seen[l->path / 8] >> (l->path % 8) & 1))
        return 0;
    if ((size_t)l->path >= s->seen_bits)
        return 0;                       /* came while we were looking */
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    if (index_path_get(s->c.index, l->path, &name, NULL) == 0)
        add_missing(s, (const char *)name.data, name.len, l);
    return 0;
}

static bool unreadable(const struct scan *s, const char *path, size_t len)
{
    for (size_t i = 0; i < s->unreadable.n; i++) {
        const struct hint *h = &s->unreadable.v[i];
        if (h->len == 0 || path_beneath(path, len, h->path, h->len) || (h->len == len && memcmp(h->path, path, len) == 0))
            return true;
    }
    return false;
}

/* The second look: only what is still missing, and may be missing, counts. */
static bool truly_missing(struct scan *s, const struct missing *m)
{
    struct stamp st;
    if (ignore_match_deep(s->ignore, m->path, m->len, m->local.stamp.kind == STAMP_DIR) || unreadable(s, m->path, m->len))
        return false;
    if (s->c.ops.busy(s->c.ops.arg, m->path, m->len)) {
        scan_later(s, m->path, m->len, BUSY_MS);
        return false;
    }
    return folder_stat(s->c.folder, m->path, m->len, &st) == 0 && st.kind == STAMP_ABSENT;
}

static int by_ino(const void *a, const void *b)
{
    const struct missing *x = a, *y = b;
    if (x->local.stamp.ino != y->local.stamp.ino)
        return x->local.stamp.ino < y->local.stamp.ino ? -1 : 1;
    return strcmp(x->path, y->path);
}

static struct missing *renamed_from(struct scan *s, const struct stamp *st)
{
    size_t lo = 0, hi = s->nmissing;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (s->missing[mid].local.stamp.ino < st->ino)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < s->nmissing && s->missing[lo].local.stamp.ino == st->ino; lo++) {
        struct missing *m = &s->missing[lo];
        if (!m->matched && m->local.settled && stamp_same_file(&m->local.stamp, st))
            return m;
    }
    return NULL;
}

/* The content of a file that was only renamed is known: nothing is read. */
static bool take_renamed(struct scan *s, const struct candidate *c, const struct missing *m)
{
    struct ix_entry row;
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry ent = {0};
    if (engine_entry(s->c.engine, m->local.entry, &raw, &ent, &row) < 0 || ent.kind != KIND_FILE)
        return false;
    struct fact f = plain_fact(c->path, c->len, &c->st);
    f.content = (struct content_list){.type = ent.content.type, .class = ent.content.class, .nblocks = ent.content.nblocks,
                                      .root = ent.content.root, .size = ent.size, .inline_len = ent.content.inline_bytes.len};
    if (ent.content.inline_bytes.len)
        memcpy(f.content.inline_bytes, ent.content.inline_bytes.p, ent.content.inline_bytes.len);
    take_fact(s, f);
    return true;
}

static void take_gone(struct scan *s, struct missing *m)
{
    struct fact f = plain_fact(m->path, m->len, &(struct stamp){0});
    f.kind = FACT_GONE;
    take_fact(s, f);
}

static void drop_not_missing(struct scan *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->nmissing; i++)
        if (truly_missing(s, &s->missing[i]))
            s->missing[n++] = s->missing[i];
        else
            free(s->missing[i].path);
    s->nmissing = n;
}

/* Too much has vanished at once to be believed without a word of the user. */
static bool brake(struct scan *s)
{
    uint64_t local = 0, lost = 0;
    for (size_t i = 0; i < s->nmissing; i++)
        lost += !s->missing[i].matched && s->missing[i].local.stamp.kind == STAMP_FILE;
    if (lost <= BRAKE_MIN || s->accept || index_local_count(s->c.index, &local) < 0 || lost * BRAKE_PART <= local)
        return s->braked = false;
    s->brake_files = lost;
    return s->braked = true;
}

static int deepest_first(const void *a, const void *b)
{
    return -strcmp(((const struct missing *)a)->path, ((const struct missing *)b)->path);
}

static void settle_look(struct scan *s)
{
    if (s->full_look && index_local_each(s->c.index, unseen, s) < 0)
        log_warn("index: %s", err_text());
    drop_not_missing(s);
    qsort(s->missing, s->nmissing, sizeof *s->missing, by_ino);
    for (size_t i = 0; i < s->nfresh; i++) {
        struct candidate *c = &s->fresh[i];
        struct missing *m = s->nmissing ? renamed_from(s, &c->st) : NULL;
        if (m && take_renamed(s, c, m)) {
            m->matched = true;
            take_gone(s, m);
        } else {
            take_file(s, c->path, c->len, &c->st, -1);
        }
        free(c->path);
    }
    s->nfresh = 0;
    bool held = brake(s);
    qsort(s->missing, s->nmissing, sizeof *s->missing, deepest_first);
    for (size_t i = 0; i < s->nmissing; i++) {
        if (!s->missing[i].matched && !held)
            take_gone(s, &s->missing[i]);
        free(s->missing[i].path);
    }
    s->nmissing = 0;
    s->accept = false;
}

static void forget_look(struct scan *s)
{
    for (size_t i = 0; i < s->nfresh; i++)
        free(s->fresh[i].path);
    for (size_t i = 0; i < s->nmissing; i++)
        free(s->missing[i].path);
    s->nfresh = s->nmissing = 0;
}

static void look_failed(struct scan *s, const struct look *l)
{
    forget_look(s);
    s->root_bad = true;
    s->full_wanted = true;
    s->c.ops.failed(s->c.ops.arg, l->text);
    scan_wake(s, RETRY_MS);
}

void scan_on_look_done(struct scan *s, struct look *l)
{
    s->looking = false;
    s->full_period = l->watch_full ? FULL_PERIOD_UNWATCHED_MS : FULL_PERIOD_MS;
    if (l->watch_full)
        log_seldom(LOG_WARN, "%s; until then the whole folder is looked at every minute", l->watch_text);
    if (s->stopped) {
        forget_look(s);
        return;
    }
    if (l->code < 0) {
        look_failed(s, l);
    } else {
        if (s->root_bad)
            s->c.ops.failed(s->c.ops.arg, NULL);
        s->root_bad = false;
        settle_look(s);
        if (s->full_look) {
            s->last = s->counting;
            s->first_done = true;
            s->next_full = loop_now() + s->full_period;
        }
    }
    hints_release(&s->unreadable);
    take_pump(s);
    scan_wake(s, l->code < 0 ? RETRY_MS : s->soon.n || s->full_wanted ? 0 : s->next_full - loop_now());
    if (s->later.n)
        move_due(s);
}

/* ---- questions, life cycle ---- */

bool scan_idle(struct scan *s)
{
    watch_drain(s->watch);
    return !s->looking && !s->soon.n && !s->full_wanted && !s->hashing && s->queue_at == s->nqueue && !s->nfact;
}

bool scan_first_done(const struct scan *s) { return s->first_done; }
uint64_t scan_errors(const struct scan *s) { return s->told.n; }

void scan_accept_deletions(struct scan *s)
{
    s->accept = true;
    s->braked = false;
    scan_all(s);
}

bool scan_braked(const struct scan *s, uint64_t *files)
{
    *files = s->brake_files;
    return s->braked;
}

void scan_figures(const struct scan *s, struct scan_figures *out)
{
    *out = s->last;
    out->changed = s->counting.changed;
}

int scan_new(const struct scan_config *c, struct scan **out)
{
    struct scan *s = xcalloc(1, sizeof *s);
    s->c = *c;
    s->ignore = ignore_new();
    s->full_period = FULL_PERIOD_MS;
    s->full_wanted = true;
    struct watch_ops ops = {.changed = on_changed, .arg = s};
    int r = watch_new(c->loop, folder_path(c->folder), &ops, &s->watch);
    if (r < 0) {
        scan_free(&s);
        return r;
    }
    scan_wake(s, 0);
    *out = s;
    return 0;
}

/* The pool has been freed before: no job of ours is under way. */
void scan_free(struct scan **ps)
{
    struct scan *s = *ps;
    if (!s)
        return;
    loop_timer_clear(s->c.loop, &s->timer);
    watch_free(&s->watch);
    take_release(s);
    forget_look(s);
    hints_release(&s->soon);
    hints_release(&s->later);
    hints_release(&s->unreadable);
    ignore_free(&s->ignore);
    free(s->missing);
    free(s->fresh);
    free(s->seen);
    free(s);
    *ps = NULL;
}
