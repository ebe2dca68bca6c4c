#include "store/control.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "store/publish.h"
#include "store/sys.h"

#define MAGIC "LNYDCTL1"
#define MAGIC_LEN 8
#define LENGTH_LEN 4
/* The log is held in memory whole. 100,000 ordinary records; members cannot make a node hold more. */
#define CONTROL_BYTES (64u * 1024 * 1024)
#define REMEDY "restore it from a backup, or join the group again"

struct control {
    char *path;
    int fd;
    struct group group;
    bool broken;          /* what is on disk behind the last good record is unknown: no more appends */
    struct buf log;       /* the file's content up to the end of the last record */
    size_t *at;           /* where record n's length begins */
    size_t n, cap;
};

static uint32_t length_get(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void length_put(uint8_t *p, size_t len)
{
    for (int i = 0; i < LENGTH_LEN; i++)
        p[i] = (uint8_t)(len >> 8 * i);
}

static int write_at(const char *path, int fd, const void *data, size_t len, size_t off)
{
    for (const uint8_t *p = data; len > 0;) {
        ssize_t n = sys->pwrite(fd, p, len, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set(n < 0 && (errno == ENOSPC || errno == EDQUOT) ? ERR_FULL : ERR_IO, "control log %s: write: %m", path);
        p += n;
        off += (size_t)n;
        len -= (size_t)n;
    }
    return 0;
}

static int flush(const char *path, int fd)
{
    return sys->fsync(fd) == 0 ? 0 : err_set(ERR_IO, "control log %s: fsync: %m", path);
}

/* ---- creating ---- */

static int write_new(const char *tmp, const struct buf *b)
{
    (void)sys->unlinkat(AT_FDCWD, tmp, 0);   /* left by an attempt that died */
    int fd = sys->openat2(AT_FDCWD, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600, 0);
    if (fd < 0)
        return err_set(ERR_IO, "control log %s: %m", tmp);
    int rc = write_at(tmp, fd, b->data, b->len, 0);
    (void)sys->close(fd);
    if (rc != 0)
        (void)sys->unlinkat(AT_FDCWD, tmp, 0);
    return rc;
}

static int name_new(struct buf *tmp, const char *path)
{
    buf_addf(tmp, "%s.new%c", path, '\0');
    return buf_ok(tmp) ? 0 : err_set(ERR_BAD, "control log: the name is too long");
}

static void add_record(struct buf *log, const void *blob, size_t len)
{
    uint8_t head[LENGTH_LEN];
    length_put(head, len);
    buf_add(log, head, sizeof head);
    buf_add(log, blob, len);
}

int control_create(const char *path, const struct bytes *genesis)
{
    struct group g;
    int rc = group_init(&g, genesis->p, genesis->len);
    if (rc != 0)
        return rc;
    group_release(&g);
    if (genesis->len > LIMIT_CTL_BYTES)
        return err_set(ERR_BAD, "control log %s: the genesis is too long", path);
    AUTO(buf_release) struct buf tmp = BUF_INIT(LIMIT_PATH + 16), log = BUF_INIT(CONTROL_BYTES);
    buf_add(&log, MAGIC, MAGIC_LEN);
    add_record(&log, genesis->p, genesis->len);
    rc = name_new(&tmp, path);
    if (rc == 0)
        rc = write_new((const char *)tmp.data, &log);
    return rc ? rc : publish((const char *)tmp.data, path);
}

/* ---- opening ---- */

static int read_all(struct control *c)
{
    for (;;) {
        uint8_t chunk[16384];
        ssize_t n = sys->pread(c->fd, chunk, sizeof chunk, (off_t)c->log.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(ERR_IO, "control log %s: read: %m", c->path);
        if (n == 0)
            return 0;
        buf_add(&c->log, chunk, (size_t)n);
        if (!buf_ok(&c->log))
            return err_set(ERR_CORRUPT, "control log %s: longer than a control log can be: " REMEDY, c->path);
    }
}

static void remember(struct control *c, size_t at)
{
    if (c->n == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 16;
        c->at = xrealloc(c->at, c->cap, sizeof *c->at);
    }
    c->at[c->n++] = at;
}

/* Finds the records. 1 when the file ends in an unfinished one; c->log then ends before it. */
static int split(struct control *c)
{
    size_t end = c->log.len, at = MAGIC_LEN;
    if (end < MAGIC_LEN || memcmp(c->log.data, MAGIC, MAGIC_LEN) != 0)
        return err_set(ERR_CORRUPT, "control log %s: not a control log: " REMEDY, c->path);
    while (end - at >= LENGTH_LEN) {
        uint32_t len = length_get(c->log.data + at);
        if (len > LIMIT_CTL_BYTES)
            return err_set(ERR_CORRUPT, "control log %s: record %zu: damaged length: " REMEDY, c->path, c->n);
        if (len == 0 || len > end - at - LENGTH_LEN)
            break;
        remember(c, at);
        at += LENGTH_LEN + len;
    }
    c->log.len = at;
    return at < end;
}

static struct bytes blob_of(const struct control *c, size_t n)
{
    const uint8_t *p = c->log.data + c->at[n];
    return (struct bytes){ p + LENGTH_LEN, length_get(p) };
}

/* verified: it has been before. */
static int decode(const struct bytes *blob, bool verified, struct ctl *out)
{
    return verified ? ctl_decode_again(blob->p, blob->len, out) : ctl_decode(blob->p, blob->len, out);
}

static int apply(struct group *g, const struct bytes *blob, bool verified)
{
    struct ctl record;
    int rc = decode(blob, verified, &record);
    return rc ? rc : group_apply(g, &record);
}

static int begin(struct control *c)
{
    if (c->n == 0)
        return err_set(ERR_CORRUPT, "control log %s: ends before its first record: " REMEDY, c->path);
    struct bytes b = blob_of(c, 0);
    int rc = group_init(&c->group, b.p, b.len);
    if (rc != 0)
        c->group = (struct group){ 0 };
    return rc;
}

/* The records from..to-1 in memory become part of the group; it begins with record 0. */
static int replay(struct control *c, size_t from, size_t to, bool verified)
{
    int rc = from == 0 ? begin(c) : 0;
    for (size_t n = from ? from : 1; rc == 0 && n < to; n++) {
        struct bytes b = blob_of(c, n);
        rc = apply(&c->group, &b, verified);
        if (rc != 0)
            rc = err_prefix(rc, "record %zu", n);
    }
    if (rc == 0 || c->n == 0)
        return rc;
    AUTOFREE char *why = xstrdup(err_text());
    return err_set(ERR_CORRUPT, "control log %s: %s: " REMEDY, c->path, why);
}

static int cut(struct control *c)
{
    if (sys->ftruncate(c->fd, (off_t)c->log.len) != 0)
        return err_set(ERR_IO, "control log %s: truncate: %m", c->path);
    return flush(c->path, c->fd);
}

/* The tail is cut off last: a file that is refused stays as it is. */
static int load(struct control *c)
{
    int rc = read_all(c);
    if (rc != 0)
        return rc;
    int torn = split(c);
    if (torn < 0)
        return torn;
    rc = replay(c, 0, c->n, false);
    return rc == 0 && torn ? cut(c) : rc;
}

int control_open(const char *path, struct control **out)
{
    *out = NULL;
    int fd = sys->openat2(AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0, 0);
    if (fd < 0)
        return err_set(errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "control log %s: %m", path);
    struct control *c = xcalloc(1, sizeof *c);
    *c = (struct control){ .path = xstrdup(path), .fd = fd, .log = BUF_INIT(CONTROL_BYTES) };
    int rc = load(c);
    if (rc == 0)
        *out = c;
    else
        control_close(&c);
    return rc;
}

static void clear(struct control *c)
{
    (void)sys->close(c->fd);
    group_release(&c->group);
    buf_release(&c->log);
    free(c->at);
    free(c->path);
}

void control_close(struct control **c)
{
    if (!*c)
        return;
    clear(*c);
    free(*c);
    *c = NULL;
}

struct group *control_group(struct control *c)
{
    return &c->group;
}

int control_record(const struct control *c, uint64_t n, struct bytes *blob)
{
    if (n >= c->n)
        return err_set(ERR_NOTFOUND, "control log %s: no record %llu", c->path, (unsigned long long)n);
    *blob = blob_of(c, (size_t)n);
    return 0;
}

int control_ctl(const struct control *c, uint64_t n, struct ctl *out)
{
    struct bytes blob = { 0 };
    int rc = control_record(c, n, &blob);
    return rc ? rc : decode(&blob, true, out);
}

/* ---- appending ---- */

/* The body is durable before its length is there, so a length names a whole record: at opening, a record that does not verify is
 * damage and never the trace of a crash. */
static int write_record(struct control *c, const void *blob, size_t len)
{
    uint8_t head[LENGTH_LEN] = { 0 };
    size_t at = c->log.len;
    int rc = write_at(c->path, c->fd, head, sizeof head, at);
    if (rc == 0)
        rc = write_at(c->path, c->fd, blob, len, at + LENGTH_LEN);
    if (rc == 0)
        rc = flush(c->path, c->fd);
    length_put(head, len);
    if (rc == 0)
        rc = write_at(c->path, c->fd, head, sizeof head, at);
    return rc ? rc : flush(c->path, c->fd);
}

/* Back to the state before a failed append, keeping its error text. */
static void undo(struct control *c)
{
    AUTOFREE char *why = xstrdup(err_text());
    c->broken = cut(c) != 0;
    group_release(&c->group);
    int rc = replay(c, 0, c->n, true);
    assert(rc == 0);   /* these records have been applied before */
    (void)err_set(ERR_IO, "%s", why);
}

int control_append(struct control *c, const void *blob, size_t len)
{
    if (c->broken)
        return err_set(ERR_IO, "control log %s: an earlier write failed: restart the node when its disk works", c->path);
    if (len == 0 || len > LIMIT_CTL_BYTES)
        return err_set(ERR_BAD, "control record: %zu bytes", len);
    if (c->log.len + LENGTH_LEN + len > CONTROL_BYTES)
        return err_set(ERR_FULL, "control log %s: has reached its greatest length", c->path);
    int rc = apply(&c->group, &(struct bytes){ blob, len }, false);
    if (rc != 0)
        return rc;
    rc = write_record(c, blob, len);
    if (rc != 0) {
        undo(c);
        return rc;
    }
    size_t at = c->log.len;
    add_record(&c->log, blob, len);
    assert(buf_ok(&c->log));   /* its maximum was checked above; memory for so little aborts like xcalloc */
    remember(c, at);
    return 0;
}

/* ---- a chain that contradicts ours ---- */

int control_hash(const struct control *c, uint64_t n, struct id *hash)
{
    struct bytes blob = {0}, rec = {0};
    const uint8_t *sig;
    int rc = control_record(c, n, &blob);
    if (rc == 0)
        rc = signed_split(blob.p, blob.len, &rec, &sig);
    if (rc == 0)
        *hash = n == 0 ? c->group.id : id_hash(rec.p, rec.len);
    return rc;
}

/* The group as it was after record n. */
static int group_at(const struct control *c, uint64_t n, struct group *out)
{
    struct bytes b = blob_of(c, 0);
    int rc = group_init(out, b.p, b.len);
    for (uint64_t i = 1; rc == 0 && i <= n; i++) {
        b = blob_of(c, (size_t)i);
        rc = apply(out, &b, true);
    }
    return rc;
}

static int weigh(struct group *g, const struct bytes *blob, bool verified, struct ctl_weight *w)
{
    struct ctl record;
    struct ctl_weight heavier = *w;
    int rc = decode(blob, verified, &record);
    if (rc != 0)
        return rc;
    group_weigh(&heavier, g, &record);
    rc = group_apply(g, &record);
    if (rc == 0)
        *w = heavier;
    return rc;
}

int control_judge(struct control *c, uint64_t from, const struct bytes *chain)
{
    assert(from >= 1 && from < c->n);
    AUTO(group_release) struct group ours = {0}, theirs = {0};
    struct ctl_weight our = {0}, their = {0};
    int rc = group_at(c, from - 1, &ours);
    if (rc != 0)
        return rc;
    group_copy(&theirs, &ours);
    struct mp m = mp_reader(chain->p, chain->len);
    while (rc == 0 && mp_peek(&m) != MP_END) {
        struct bytes blob = mp_skip(&m);
        rc = m.failed ? err_set(ERR_BAD, "control records: malformed") : weigh(&theirs, &blob, false, &their);
    }
    for (uint64_t n = from; rc == 0 && n < c->n; n++) {
        struct bytes blob = blob_of(c, (size_t)n);
        rc = weigh(&ours, &blob, true, &our);
    }
    if (rc == ERR_EXISTS || rc == ERR_AGAIN)
        rc = ERR_BAD;                    /* numbers that do not follow each other */
    return rc ? rc : group_weight_cmp(&their, &our) > 0;
}

/* The new chain takes the place of the old one in memory. */
static int adopt(struct control *c, struct buf *log)
{
    int fd = sys->openat2(AT_FDCWD, c->path, O_RDWR | O_CLOEXEC, 0, 0);
    if (fd < 0)
        return err_set(ERR_IO, "control log %s: %m", c->path);
    (void)sys->close(c->fd);
    c->fd = fd;
    buf_release(&c->log);
    c->log = *log;
    *log = (struct buf)BUF_INIT(CONTROL_BYTES);
    c->n = 0;
    group_release(&c->group);
    int rc = split(c);
    return rc ? rc : replay(c, 0, c->n, true);
}

int control_switch(struct control *c, uint64_t from, const struct bytes *chain)
{
    assert(from >= 1 && from < c->n);
    AUTO(buf_release) struct buf log = BUF_INIT(CONTROL_BYTES), tmp = BUF_INIT(LIMIT_PATH + 16);
    buf_add(&log, c->log.data, c->at[from]);
    struct mp m = mp_reader(chain->p, chain->len);
    while (mp_peek(&m) != MP_END && !m.failed) {
        struct bytes blob = mp_skip(&m);
        add_record(&log, blob.p, blob.len);
    }
    if (c->broken || !buf_ok(&log))
        return err_set(ERR_FULL, "control log %s: cannot be written now, or has reached its greatest length", c->path);
    int rc = name_new(&tmp, c->path);
    if (rc == 0)
        rc = write_new((const char *)tmp.data, &log);
    bool placed = false;
    if (rc == 0)
        rc = publish_over((const char *)tmp.data, c->path, &placed);
    if (placed) {
        int adopted = adopt(c, &log);
        c->broken = rc != 0 || adopted != 0;
        rc = rc ? rc : adopted;
    }
    return rc;
}

/* ---- the file against what is in memory ---- */

#define CHECK_STEP 128               /* records: some 10 ms */

struct control_check { struct control on_disk; size_t at, n; struct id tip; };      /* n, tip: of the log in memory */

static int read_whole(struct control *on_disk)
{
    int rc = read_all(on_disk);
    int torn = rc == 0 ? split(on_disk) : rc;
    if (torn > 0)
        return err_set(ERR_CORRUPT, "control log %s: ends in the middle of record %zu: " REMEDY, on_disk->path, on_disk->n);
    return torn;
}

int control_check_new(const struct control *c, struct control_check **out)
{
    *out = NULL;
    int fd = sys->openat2(AT_FDCWD, c->path, O_RDONLY | O_CLOEXEC, 0, 0);
    if (fd < 0)
        return err_set(ERR_IO, "control log %s: %m", c->path);
    struct control_check *k = xcalloc(1, sizeof *k);
    *k = (struct control_check){ .on_disk = { .path = xstrdup(c->path), .fd = fd, .log = BUF_INIT(CONTROL_BYTES) }, .n = c->n, .tip = c->group.ctl_hash };
    int rc = read_whole(&k->on_disk);
    if (rc == 0)
        *out = k;
    else
        control_check_free(&k);
    return rc;
}

int control_check_step(struct control_check *k, bool *more)
{
    struct control *d = &k->on_disk;
    size_t to = d->n - k->at > CHECK_STEP ? k->at + CHECK_STEP : d->n;
    int rc = replay(d, k->at, to, false);
    k->at = to;
    *more = rc == 0 && to < d->n;
    if (rc < 0 || *more)
        return rc;
    if (d->n != k->n || !id_eq(&d->group.ctl_hash, &k->tip))
        return err_set(ERR_CORRUPT, "control log %s: ends with record %zu, and the node knows %zu: " REMEDY, d->path, d->n - 1, k->n - 1);
    return 0;
}

void control_check_free(struct control_check **k)
{
    if (!*k)
        return;
    clear(&(*k)->on_disk);
    free(*k);
    *k = NULL;
}
