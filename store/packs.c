#include "store/packs_priv.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "proto/limits.h"
#include "store/sys.h"

#define PACK_MAGIC "lanyard pack 1\n"
#define RECORD_MAGIC "LYPK"
enum { HEAD = 56, HEADED = 48, FIRST = 64, RUN_ALIGN = 4096, LEVEL = 3, NAME = 32, SCAN_STEP = 1 << 20 };

struct packs { int dir; };

/* ---- files ---- */

static int pack_error(uint64_t pack, const char *doing)
{
    enum err code = errno == ENOENT ? ERR_NOTFOUND : errno == EEXIST ? ERR_EXISTS
                  : errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? ERR_FULL : ERR_IO;
    return err_set(code, "pack %" PRIx64 ": %s: %m", pack, doing);
}

static void name_of(uint64_t pack, char out[static NAME]) { snprintf(out, NAME, "p-%08" PRIx64, pack); }

static int open_pack(const struct packs *p, uint64_t pack, uint64_t flags, int *fd)
{
    char name[NAME];
    name_of(pack, name);
    *fd = sys->openat2(p->dir, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, flags & O_CREAT ? 0600 : 0,
                       RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
    return *fd < 0 ? pack_error(pack, "opening") : 0;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)sys->close(*fd);
    *fd = -1;
}

static int length_of(int fd, uint64_t pack, uint64_t *size)
{
    struct statx st;
    if (sys->statx(fd, "", AT_EMPTY_PATH, STATX_SIZE | STATX_TYPE, &st) < 0)
        return pack_error(pack, "looking at it");
    *size = st.stx_size;
    return S_ISREG(st.stx_mode) ? 0 : err_set(ERR_IO, "pack %" PRIx64 ": not a file", pack);
}

/* All of it, or ERR_CORRUPT where the file ends before. */
static int read_all(int fd, uint64_t pack, uint64_t off, uint8_t *p, size_t len)
{
    while (len > 0) {
        ssize_t n = sys->pread(fd, p, len, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pack_error(pack, "reading");
        if (n == 0)
            return err_set(ERR_CORRUPT, "pack %" PRIx64 ": ends at byte %" PRIu64, pack, off);
        p += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

int packs_open(int *dir, struct packs **out)
{
    *out = NULL;
    if (*dir < 0)
        return err_set(ERR_IO, "packs: %m");
    *out = xcalloc(1, sizeof **out);
    (*out)->dir = *dir;
    *dir = -1;
    return 0;
}

void packs_close(struct packs **p)
{
    if (!*p)
        return;
    close_fd(&(*p)->dir);
    free(*p);
    *p = NULL;
}

static bool number_of(const char *name, uint64_t *pack)
{
    char again[NAME];
    if (sscanf(name, "p-%" SCNx64, pack) != 1)
        return false;
    name_of(*pack, again);
    return strcmp(name, again) == 0 && *pack > 0;
}

static void close_dir(DIR **d)
{
    if (*d)
        closedir(*d);
}

int packs_list(const struct packs *p, int (*each)(void *arg, uint64_t pack, uint64_t size), void *arg)
{
    int dir = openat(p->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO(close_dir) DIR *d = dir < 0 ? NULL : fdopendir(dir);
    if (!d) {
        close_fd(&dir);
        return err_set(ERR_IO, "packs: %m");
    }
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(d);
        uint64_t pack, size;
        if (!e)
            return errno ? err_set(ERR_IO, "packs: %m") : 0;
        if (!number_of(e->d_name, &pack))
            continue;
        AUTO(close_fd) int fd = -1;
        int r = open_pack(p, pack, O_RDONLY, &fd);
        if (r == 0)
            r = length_of(fd, pack, &size);
        if (r == 0)
            r = each(arg, pack, size);
        if (r != 0)
            return r;
    }
}

int packs_remove(const struct packs *p, uint64_t pack)
{
    char name[NAME];
    name_of(pack, name);
    return sys->unlinkat(p->dir, name, 0) < 0 && errno != ENOENT ? pack_error(pack, "removing") : 0;
}

/* ---- the head of a record ---- */

struct head { uint8_t kind, coding; uint32_t raw, stored; struct id id; };

static void head_put(uint8_t out[static HEAD], const struct head *h)
{
    memset(out, 0, HEAD);
    memcpy(out, RECORD_MAGIC, 4);
    out[4] = h->kind;
    out[5] = h->coding;
    put_le(out + 8, h->raw, 4);
    put_le(out + 12, h->stored, 4);
    memcpy(out + 16, h->id.b, ID_LEN);
    struct id check = id_hash(out, HEADED);
    memcpy(out + HEADED, check.b, HEAD - HEADED);
}

/* Whether a record of ours begins there. */
static bool head_get(const uint8_t in[static HEAD], struct head *h)
{
    struct id check = id_hash(in, HEADED);
    if (memcmp(in, RECORD_MAGIC, 4) != 0 || memcmp(in + HEADED, check.b, HEAD - HEADED) != 0)
        return false;
    *h = (struct head){.kind = in[4], .coding = in[5], .raw = (uint32_t)get_le(in + 8, 4), .stored = (uint32_t)get_le(in + 12, 4)};
    memcpy(h->id.b, in + 16, ID_LEN);
    return (h->kind == PACK_BLOCK || h->kind == PACK_CONTENT) && h->raw <= (h->kind == PACK_BLOCK ? LIMIT_BLOCK : PACK_CONTENT_MAX) &&
           (h->coding == 0 ? h->stored == h->raw : h->coding == 1 && h->stored < h->raw);
}

/* ---- writing ---- */

struct pack_writer {
    const struct packs *packs;
    uint64_t pack, began, size;      /* began: its length before */
    int fd;
    ZSTD_CCtx *zstd;
    uint8_t *out; size_t room;
};

static void writer_free(struct pack_writer **pw)
{
    struct pack_writer *w = *pw;
    close_fd(&w->fd);
    ZSTD_freeCCtx(w->zstd);
    free(w->out);
    free(w);
    *pw = NULL;
}

static int write_at(struct pack_writer *w, const uint8_t *p, size_t len)
{
    uint64_t off = w->size;
    while (len > 0) {
        ssize_t n = sys->pwrite(w->fd, p, len, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pack_error(w->pack, "writing");
        p += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
    w->size = off;
    return 0;
}

static int begin_at(struct pack_writer *w)
{
    uint64_t now;
    int r = length_of(w->fd, w->pack, &now);
    if (r == 0 && now != w->began)
        r = err_set(ERR_CHANGED, "pack %" PRIx64 ": has %" PRIu64 " bytes where the index says %" PRIu64, w->pack, now, w->began);
    if (r < 0)
        return r;
    w->size = (w->began + RUN_ALIGN - 1) / RUN_ALIGN * RUN_ALIGN;
    uint8_t head[FIRST] = PACK_MAGIC;
    return w->began ? 0 : write_at(w, head, sizeof head);
}

int pack_begin(const struct packs *p, uint64_t pack, uint64_t size, struct pack_writer **out)
{
    assert(pack > 0);
    *out = NULL;
    int fd;
    int r = open_pack(p, pack, size ? O_RDWR : (uint64_t)(O_RDWR | O_CREAT | O_EXCL), &fd);
    if (r < 0)
        return r;
    struct pack_writer *w = xcalloc(1, sizeof *w);
    *w = (struct pack_writer){.packs = p, .pack = pack, .began = size, .fd = fd, .zstd = ZSTD_createCCtx()};
    assert(w->zstd);
    r = begin_at(w);
    if (r == ERR_CHANGED)
        writer_free(&w);                /* not ours to cut off */
    else if (r < 0)
        pack_abandon(&w);
    *out = w;
    return r;
}

/* Where compressing saves nothing, the bytes are stored as they are. */
static size_t compress(struct pack_writer *w, enum pack_kind kind, const void *data, uint32_t len)
{
    size_t n = kind == PACK_BLOCK && len > 0 ? ZSTD_compressCCtx(w->zstd, w->out + HEAD, len, data, len, LEVEL) : len;
    return ZSTD_isError(n) || n >= len ? len : n;
}

int pack_put(struct pack_writer *w, enum pack_kind kind, const struct id *id, const void *data, uint32_t len, struct pack_at *at)
{
    assert(kind == PACK_CONTENT || len <= LIMIT_BLOCK);
    if (w->room < HEAD + (size_t)len) {
        w->room = HEAD + (size_t)len;
        w->out = xrealloc(w->out, w->room, 1);
    }
    size_t stored = compress(w, kind, data, len);
    if (stored == len && len > 0)
        memcpy(w->out + HEAD, data, len);
    struct head h = {.kind = (uint8_t)kind, .coding = stored < len, .raw = len, .stored = (uint32_t)stored, .id = *id};
    head_put(w->out, &h);
    *at = (struct pack_at){w->pack, w->size, (uint32_t)(HEAD + stored)};
    return write_at(w, w->out, HEAD + stored);
}

uint64_t pack_length(const struct pack_writer *w) { return w->size; }

int pack_end(struct pack_writer **pw, uint64_t *size)
{
    struct pack_writer *w = *pw;
    *size = w->size;
    if (sys->fsync(w->fd) < 0 || (w->began == 0 && sys->fsync(w->packs->dir) < 0)) {
        int r = pack_error(w->pack, "making it durable");
        pack_abandon(pw);
        return r;
    }
    writer_free(pw);
    return 0;
}

void pack_abandon(struct pack_writer **pw)
{
    struct pack_writer *w = *pw;
    if (!w)
        return;
    /* Should that fail, it is space lost until the pack is written anew. */
    if (w->began == 0)
        (void)!packs_remove(w->packs, w->pack);
    else
        (void)!sys->ftruncate(w->fd, (off_t)w->began);
    writer_free(pw);
}

/* ---- reading ---- */

static int verify(const struct head *h, const uint8_t *data, size_t len)
{
    struct pack_content c;
    if (h->kind == PACK_CONTENT)
        return pack_content_get(&h->id, data, len, &c);
    struct id found = id_hash(data, len);
    return id_eq(&found, &h->id) ? 0 : err_set(ERR_CORRUPT, "not the bytes that its id names");
}

/* The bytes of a record of which the head has been read. */
static int read_body(int fd, uint64_t pack, uint64_t off, const struct head *h, struct buf *out)
{
    buf_clear(out);
    if (h->raw > out->max)
        return err_set(ERR_CORRUPT, "a record of %u bytes", h->raw);
    AUTOFREE uint8_t *stored = xrealloc(NULL, (size_t)h->stored + 1, 1);
    int r = read_all(fd, pack, off + HEAD, stored, h->stored);
    if (r < 0)
        return r;
    if (h->coding == 0) {
        buf_add(out, stored, h->stored);
    } else {
        AUTOFREE uint8_t *raw = xrealloc(NULL, (size_t)h->raw + 1, 1);
        size_t n = ZSTD_decompress(raw, h->raw, stored, h->stored);
        if (ZSTD_isError(n) || n != h->raw)
            return err_set(ERR_CORRUPT, "does not unpack");
        buf_add(out, raw, h->raw);
    }
    return buf_ok(out) ? verify(h, out->data, out->len) : err_set(ERR_FULL, "pack: no memory");
}

int pack_read(const struct packs *p, const struct pack_at *at, enum pack_kind kind, const struct id *id, struct buf *out)
{
    AUTO(close_fd) int fd = -1;
    uint8_t head[HEAD];
    struct head h;
    int r = open_pack(p, at->pack, O_RDONLY, &fd);
    if (r == 0)
        r = read_all(fd, at->pack, at->off, head, sizeof head);
    if (r < 0)
        return r;
    if (!head_get(head, &h) || h.kind != kind || !id_eq(&h.id, id) || HEAD + h.stored != at->len)
        r = err_set(ERR_CORRUPT, "not the record that is meant");
    else
        r = read_body(fd, at->pack, at->off, &h, out);
    return r == ERR_CORRUPT ? err_prefix(r, "pack %" PRIx64 " at byte %" PRIu64, at->pack, at->off) : r;
}

int pack_flush(const struct packs *p, uint64_t pack)
{
    AUTO(close_fd) int fd = -1;
    int r = open_pack(p, pack, O_RDONLY, &fd);
    return r == 0 && (sys->fsync(fd) < 0 || sys->fsync(p->dir) < 0) ? pack_error(pack, "making it durable") : r;
}

struct scan { int fd; uint64_t pack, off, size; uint8_t *buf; struct buf body; int (*each)(void *arg, const struct pack_sight *s); void *arg; };

static bool all_zero(const uint8_t *p, size_t len)
{
    return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* Where the next record begins behind `from`, or `end`. zero: nothing but zeros is before it. */
static int find_head(struct scan *s, uint64_t from, uint64_t end, uint64_t *at, bool *zero)
{
    *zero = true;
    for (*at = from;;) {
        size_t n = end - *at < SCAN_STEP ? (size_t)(end - *at) : SCAN_STEP;
        int r = read_all(s->fd, s->pack, *at, s->buf, n);
        if (r < 0)
            return r;
        size_t i = *at == from;
        struct head h;
        while (i + HEAD <= n && !(memcmp(s->buf + i, RECORD_MAGIC, 4) == 0 && head_get(s->buf + i, &h)))
            i++;
        bool found = i + HEAD <= n;
        bool last = *at + n == end;
        size_t over = found ? i : last ? n : n - HEAD + 1;
        *zero = *zero && all_zero(s->buf, over);
        *at += over;
        if (found || last)
            return 0;
    }
}

/* From s->off, where no record begins, to where the next one does, or to the end. Zeros between two runs are no damage. */
static int pass_over(struct scan *s)
{
    uint64_t from = s->off;
    bool zero;
    int r = find_head(s, from, s->size, &s->off, &zero);
    if (r < 0 || (zero && s->off - from < RUN_ALIGN))
        return r;
    struct pack_sight sight = {.at = {s->pack, from, (uint32_t)(s->off - from < UINT32_MAX ? s->off - from : UINT32_MAX)}, .code = ERR_CORRUPT};
    return s->each(s->arg, &sight);
}

/* To behind the damaged record at s->off; but a crash may have cut it short, and then others were written where it was to go on. */
static int pass_damaged(struct scan *s, uint32_t len)
{
    uint64_t end = s->off + len, reach = s->size - end < HEAD ? s->size : end + HEAD - 1, at;
    bool zero;
    int r = find_head(s, s->off, reach, &at, &zero);
    s->off = at < end ? at : end;
    return r;
}

static int scan_one(struct scan *s)
{
    uint8_t head[HEAD];
    struct head h;
    uint64_t left = s->size - s->off;
    int r = left < HEAD ? 0 : read_all(s->fd, s->pack, s->off, head, sizeof head);
    if (r < 0)
        return r;
    if (left < HEAD || !head_get(head, &h) || h.stored > left - HEAD)
        return pass_over(s);
    struct pack_record rec = {h.kind, h.id, {s->pack, s->off, (uint32_t)(HEAD + h.stored)}};
    s->body.max = PACK_CONTENT_MAX;
    r = read_body(s->fd, s->pack, s->off, &h, &s->body);
    if (r < 0 && r != ERR_CORRUPT)
        return r;
    struct pack_sight sight = {.rec = &rec, .at = rec.at, .data = s->body.data, .len = s->body.len, .code = r};
    if (r == 0)
        s->off += rec.at.len;
    else if ((r = pass_damaged(s, rec.at.len)) < 0)
        return r;
    return s->each(s->arg, &sight);
}

static void scan_release(struct scan *s)
{
    close_fd(&s->fd);
    free(s->buf);
    buf_release(&s->body);
}

int pack_scan(const struct packs *p, uint64_t pack, uint64_t from, int (*each)(void *arg, const struct pack_sight *s), void *arg)
{
    AUTO(scan_release) struct scan s = {.fd = -1, .pack = pack, .off = from < FIRST ? FIRST : from, .buf = xrealloc(NULL, SCAN_STEP, 1),
                                        .body = BUF_INIT(PACK_CONTENT_MAX), .each = each, .arg = arg};
    int r = open_pack(p, pack, O_RDONLY, &s.fd);
    if (r == 0)
        r = length_of(s.fd, pack, &s.size);
    while (r == 0 && s.off < s.size)
        r = scan_one(&s);
    return r;
}
