/* What a look means: differences, absences, renames. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/log.h"
#include "node/scan_priv.h"
#include "proto/path.h"

enum { BUSY_MS = 40, BRAKE_MIN = 100, BRAKE_PART = 4, FRESH_FEW = 1000 };

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
    pathset_del(&s->told, path, len);
    pathset_del(&s->backoff, path, len);
    pathset_del(&s->databases, path, len);
    if (l)
        add_missing(s, path, len, l);
    if (index_local_beneath(s->c.index, path, len, missing_beneath, s) < 0)
        log_warn("index: %s", err_text());
}

static void see_trouble(struct scan *s, const char *path, size_t len, const char *text, size_t textlen)
{
    char line[256];
    snprintf(line, sizeof line, "%.*s", (int)textlen, text);
    scan_trouble(s, path, len, line);
}

void scan_trouble(struct scan *s, const char *path, size_t len, const char *text)
{
    hints_add(&s->unreadable, path, len, false, 0);
    bool known = pathset_get(&s->told, path, len, NULL);
    pathset_put(&s->told, path, len, s->looks);
    if (!known)
        s->c.ops.trouble(s->c.ops.arg, path, len, text);
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
    s->fresh[s->nfresh++] = (struct candidate){copy, len, *st};
}

static size_t inode_bit(const struct scan *s, uint64_t ino)
{
    return (size_t)(ino * 0x9e3779b97f4a7c15u >> (64 - s->inode_bits));   /* Fibonacci hashing (Knuth 6.4) */
}

static int note_inode(void *arg, const struct ix_local *l)
{
    struct scan *s = arg;
    size_t bit = inode_bit(s, l->stamp.ino);
    if (l->stamp.kind == STAMP_FILE)
        s->inodes[bit / 8] |= (uint8_t)(1u << (bit % 8));
    return 0;
}

/* At most one bit in 16 is set. */
static void load_inodes(struct scan *s)
{
    int64_t max = 0;
    int r = index_path_max(s->c.index, &max);
    for (s->inode_bits = 10; s->inode_bits < 28 && (1ll << s->inode_bits) / 16 < max; )
        s->inode_bits++;
    s->inodes = xcalloc(((size_t)1 << s->inode_bits) / 8, 1);
    if (r < 0 || index_local_each(s->c.index, note_inode, s) < 0)
        log_warn("index: %s", err_text());
}

/* Whether a new file has the inode of one on record: perhaps, or certainly not, and then it need not wait for the end of the look.
 * That is asked only when many wait. */
static bool may_be_renamed(struct scan *s, const struct stamp *st)
{
    if (!s->inodes && s->nfresh < FRESH_FEW)
        return true;
    if (!s->inodes)
        load_inodes(s);
    size_t bit = inode_bit(s, st->ino);
    return s->inodes[bit / 8] >> (bit % 8) & 1;
}

static struct fact plain_fact(const char *path, size_t len, const struct stamp *st)
{
    char *copy = xcalloc(len + 1, 1);
    memcpy(copy, path, len);
    return (struct fact){.kind = FACT_SEEN, .path = copy, .len = len, .st = *st, .settled = true};
}

static void see_symlink(struct scan *s, const char *path, size_t len, const struct stamp *st, const void *target, size_t n)
{
    if (n == 0 || n > LIMIT_SYMLINK) {
        const char *why = "symlink: its target is longer than 4095 bytes: not synced";
        see_trouble(s, path, len, why, strlen(why));
        return;
    }
    struct fact f = plain_fact(path, len, st);
    f.content = xcalloc(1, sizeof *f.content);
    *f.content = content_list_inline(target, n);
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
        if (l && !s->full_look && pathset_get(&s->told, path, v->len, NULL))
            scan_hint(s, path, v->len, true);       /* perhaps it can be read now */
        take_fact(s, plain_fact(path, v->len, &v->st));
        break;
    case STAMP_SYMLINK:
        see_symlink(s, path, v->len, &v->st, p->bytes + v->target, v->targetlen);
        break;
    case STAMP_FILE:
        if (l)
            take_changed(s, path, v->len, v->st.size, class_before(s, l));
        else if (may_be_renamed(s, &v->st))
            add_fresh(s, path, v->len, &v->st);
        else
            take_changed(s, path, v->len, v->st.size, -1);
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

/* One that was synced when there was no database beside it: a version that ends here. What lies there stays. */
static void see_part(struct scan *s, const char *path, size_t len)
{
    struct fact f = plain_fact(path, len, &(struct stamp){0});
    f.kind = FACT_PART;
    take_fact(s, f);
}

/* What is there, and on record or not. A database in use has changed when its log has. */
static void see_there(struct scan *s, const struct sights *p, const struct sight *v, const struct ix_local *l)
{
    struct sight now = *v;
    const char *path = p->bytes + v->path;
    bool in_use = l && (l->apart || pathset_get(&s->databases, path, v->len, NULL));
    if (in_use && v->kind == SIGHT_PLAIN && v->st.kind == STAMP_FILE && database_whole(s->c.folder, path, v->len, &now.st) < 0) {
        see_trouble(s, path, v->len, err_text(), strlen(err_text()));
        return;
    }
    s->counting.files += v->kind == SIGHT_PLAIN && v->st.kind == STAMP_FILE;
    if (!l || !stamp_same(&l->stamp, &now.st))
        see_different(s, p, &now, l);
    else if ((!l->settled || l->apart) && now.st.kind == STAMP_FILE)      /* a database may have come to rest */
        take_file(s, path, v->len, now.st.size, class_before(s, l));
}

static void see(struct scan *s, const struct sights *p, const struct sight *v)
{
    const char *path = p->bytes + v->path;
    struct ix_local l;
    int r = index_local_find(s->c.index, path, v->len, &l);
    if (r == 0 && (size_t)l.path < s->seen_bits)
        s->seen[l.path / 8] |= (uint8_t)(1u << (l.path % 8));
    if (s->c.ops.busy(s->c.ops.arg, path, v->len)) {
        scan_later(s, path, v->len, BUSY_MS);
        return;
    }
    bool have = r == 0 && l.stamp.kind != STAMP_ABSENT;
    if (v->kind == SIGHT_PART && have)
        see_part(s, path, v->len);
    else if (v->kind != SIGHT_PART && v->st.kind == STAMP_ABSENT)
        see_absent(s, path, v->len, have ? &l : NULL);
    else if (v->kind != SIGHT_PART)
        see_there(s, p, v, have ? &l : NULL);
}

void scan_on_sights(struct scan *s, const struct sights *p)
{
    bool reading = index_read_begin(s->c.index) == 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct sight *v = &p->v[i];
        const char *path = p->bytes + v->path;
        if (v->wd >= 0)
            watch_bind(s->watch, v->wd, path, v->len);
        if (v->kind == SIGHT_TROUBLE)
            see_trouble(s, path, v->len, p->bytes + v->target, v->targetlen);
        else if (v->len)
            see(s, p, v);
    }
    if (reading)
        index_read_end(s->c.index);
    take_pump(s);
}

/* ---- absences and renames, at the end of a look ---- */

/* Rows with a greater id came while we were looking. */
static bool was_seen(const struct scan *s, int64_t path)
{
    return (size_t)path >= s->seen_bits || (s->seen[path / 8] >> (path % 8) & 1);
}

static int unseen(void *arg, const struct ix_local *l)
{
    struct scan *s = arg;
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    if (was_seen(s, l->path))
        return 0;
    int r = index_path_get(s->c.index, l->path, &name, NULL);
    if (r == 0)
        add_missing(s, (const char *)name.data, name.len, l);
    return r;
}

static int unseen_beneath(void *arg, const struct ix_local *l, const char *name, size_t len)
{
    if (!was_seen(arg, l->path))
        add_missing(arg, name, len, l);
    return 0;
}

/* What was walked, and is on record beneath it without having been seen. That is also how a deletion is found in a directory that was
 * made and emptied before there was a watch on it. */
static void find_unseen(struct scan *s, const struct hints *looked)
{
    int r = s->full_look ? index_local_each(s->c.index, unseen, s) : 0;
    for (size_t i = 0; r >= 0 && !s->full_look && i < looked->n; i++)
        if (looked->v[i].deep)
            r = index_local_beneath(s->c.index, looked->v[i].path, looked->v[i].len, unseen_beneath, s);
    if (r < 0)
        log_warn("index: %s", err_text());
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

/* The second look: only what is still missing, and may be missing, counts. What is ignored may go without anybody being told. */
static bool truly_missing(struct scan *s, const struct missing *m)
{
    struct stamp st;
    AUTO(folder_near_release) struct folder_near near = FOLDER_NEAR_INIT;
    if (unreadable(s, m->path, m->len))
        return false;
    if (s->c.ops.busy(s->c.ops.arg, m->path, m->len)) {
        scan_later(s, m->path, m->len, BUSY_MS);
        return false;
    }
    if (look_stat(s->c.folder, &near, m->path, m->len, &st) < 0 || st.kind != STAMP_ABSENT)
        return false;
    if (database_part(s->c.folder, m->path, m->len)) {
        see_part(s, m->path, m->len);
        return false;
    }
    if (!ignore_match_deep(s->ignore, m->path, m->len, m->local.stamp.kind == STAMP_DIR))
        return true;
    struct fact f = plain_fact(m->path, m->len, &st);
    f.kind = FACT_FORGET;
    take_fact(s, f);
    return false;
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

/* An inode is used again soon after its file was deleted, and who unpacks an archive sets times: size and time prove nothing. A file that
 * was born before we last looked at the missing one is no new file. */
static bool born_before(struct scan *s, const struct candidate *c, const struct missing *m)
{
    struct statx st;
    int fd;
    if (folder_open_file(s->c.folder, c->path, c->len, &fd) < 0)
        return false;
    int r = statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st);
    close(fd);
    return r == 0 && st.stx_mask & STATX_BTIME && st.stx_ino == m->local.stamp.ino &&
           st.stx_btime.tv_sec * 1000000000 + st.stx_btime.tv_nsec <= m->local.stamp.ctime_ns;
}

/* A rename changes ctime, and who edits a file can set back all other times. While we run the edit would have been seen. (What lies in a
 * directory that was renamed has the ctime of before.) */
static bool only_renamed(const struct scan *s, const struct candidate *c, const struct missing *m)
{
    return s->first_done || c->st.ctime_ns == m->local.stamp.ctime_ns;
}

/* The content of a file that was only renamed is known: nothing is read. */
static bool take_renamed(struct scan *s, const struct candidate *c, const struct missing *m)
{
    if (m->local.apart || !born_before(s, c, m))
        return false;
    struct ix_entry row;
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry ent = {0};
    if (engine_entry(s->c.engine, m->local.entry, &raw, &ent, &row) < 0 || ent.kind != KIND_FILE)
        return false;
    if (!only_renamed(s, c, m)) {
        take_file(s, c->path, c->len, c->st.size, class_before(s, &m->local));
        return true;
    }
    struct fact f = plain_fact(c->path, c->len, &c->st);
    f.content = xcalloc(1, sizeof *f.content);
    *f.content = ent.content.type == CONTENT_INLINE
        ? content_list_inline(ent.content.inline_bytes.p, ent.content.inline_bytes.len)
        : (struct content_list){.type = ent.content.type, .class = ent.content.class, .nblocks = ent.content.nblocks,
                                .root = ent.content.root, .size = ent.size};
    take_fact(s, f);
    return true;
}

static void take_gone(struct scan *s, struct missing *m)
{
    struct fact f = plain_fact(m->path, m->len, &(struct stamp){0});
    f.kind = FACT_GONE;
    f.lost = !m->matched && m->local.stamp.kind == STAMP_FILE;
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

static int count_file(void *arg, const struct ix_local *l)
{
    *(uint64_t *)arg += l->stamp.kind == STAMP_FILE;
    return 0;
}

/* Too much has vanished at once to be believed without a word of the user. Once that is so, every look is one at everything, until
 * the files are back or he has spoken. */
static bool brake(struct scan *s)
{
    uint64_t files = 0, lost = 0;
    for (size_t i = 0; i < s->nmissing; i++)
        lost += !s->missing[i].matched && s->missing[i].local.stamp.kind == STAMP_FILE;
    if (lost <= BRAKE_MIN || s->accept || index_local_each(s->c.index, count_file, &files) < 0 || lost * BRAKE_PART <= files)
        return s->braked = false;
    s->brake_files = lost;
    return s->braked = true;
}

/* Troubles that a look at everything has not met are over, but for files that could not be read: those are tried again. */
static void forget_troubles(struct scan *s)
{
    size_t i = 0;
    for (const struct pathset_slot *t; (t = pathset_next(&s->told, &i)); )
        if (t->value != s->looks && !pathset_get(&s->backoff, t->path, t->len, NULL))
            pathset_del(&s->told, t->path, t->len);
}

static int deepest_first(const void *a, const void *b)
{
    return -strcmp(((const struct missing *)a)->path, ((const struct missing *)b)->path);
}

/* New files are renamed ones, or are to be hashed. */
static void settle_fresh(struct scan *s)
{
    for (size_t i = 0; i < s->nfresh; i++) {
        struct candidate *c = &s->fresh[i];
        struct missing *m = s->nmissing ? renamed_from(s, &c->st) : NULL;
        if (m && take_renamed(s, c, m)) {
            m->matched = true;
            take_gone(s, m);
        } else {
            take_changed(s, c->path, c->len, c->st.size, -1);
        }
        take_relieve(s);
    }
}

void scan_settle(struct scan *s, const struct hints *looked)
{
    find_unseen(s, looked);
    if (s->full_look)
        forget_troubles(s);
    drop_not_missing(s);
    if (s->nmissing)
        qsort(s->missing, s->nmissing, sizeof *s->missing, by_ino);
    settle_fresh(s);
    bool held = brake(s);
    if (s->nmissing)
        qsort(s->missing, s->nmissing, sizeof *s->missing, deepest_first);
    for (size_t i = 0; i < s->nmissing && !held; i++) {
        if (!s->missing[i].matched)
            take_gone(s, &s->missing[i]);
        take_relieve(s);
    }
    scan_forget_look(s);
    if (s->full_look)
        s->accept = false;
}
