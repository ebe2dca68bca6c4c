/* Reading a whole file: window after window is read, cut and hashed. A large file is read by two threads, from its beginning and from its
 * middle. Where a cut lies depends on the bytes behind the cut before it and on nothing else: so as soon as both have a cut at the same
 * place, all that follows is the same, and the list is that of the first up to there and that of the second from there on. As a rule that is
 * a few blocks behind the middle, at the latest it is the end of the file.
 *
 * Holes. A block has at most `max` bytes, so blocks that begin with `max` zeros are all the same, and of a hole as long as that nothing has
 * to be read to know them. */
#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "proto/lanes.h"
#include "proto/limits.h"
#include "store/content_priv.h"

#define WINDOW_MAXES 4u                /* largest blocks in a window */
#define CUTS (WINDOW_MAXES * 16u)      /* the smallest block of a class is a sixteenth of its largest, or more */
#define THREAD_FROM (32ull << 20)

/* File systems that tell data from holes also of what was written a moment ago and is not on the disk yet; by their magic numbers. Of
 * others it is not known, and ZFS has told data to be hole. A wrong version would be announced, so there every byte is read. */
static const uint32_t exact[] = { 0xef53 /* ext4 */, 0x58465342 /* XFS */, 0x9123683e /* Btrfs */, 0x01021994 /* tmpfs */ };

/* Of a part of a file, from some byte on. The window is what was read and not yet cut. */
struct reader {
    int fd;
    const struct gear *gear;
    const struct chunk_class *class;
    const _Atomic bool *stop;
    uint64_t size, read;               /* expected, of the whole file; read up to there */
    uint8_t *data; size_t cap, end, used;  /* the window: its room, bytes read, of them cut into blocks */
    struct block_ref ref[CUTS]; size_t n;  /* the blocks of this window */
    uint64_t nzeros;                   /* blocks of zeros before it, which were not read */
    bool eof;
    bool sparse; struct block_ref zeros;   /* there may be holes; the block that begins with zeros, once it is known */
    struct buf refs;                   /* all blocks so far */
    int code; char text[200];          /* of the second one: how it ended */
};

static int changed(uint64_t expected)
{
    return err_set(ERR_CHANGED, "the file no longer has %llu bytes: it is being written", (unsigned long long)expected);
}

static bool is_sparse(int fd)
{
    struct stat st;
    struct statfs on;
    if (fstat(fd, &st) < 0 || st.st_blocks >= st.st_size / 512 || fstatfs(fd, &on) < 0)
        return false;
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++)
        if ((uint32_t)on.f_type == exact[i])
            return true;
    return false;
}

static void zeros_once(struct reader *r)
{
    if (r->zeros.len)
        return;
    AUTOFREE uint8_t *zeros = xcalloc(r->class->max, 1);
    r->zeros.len = (uint32_t)chunk_cut(r->gear, r->class, zeros, r->class->max);
    r->zeros.id = content_zeros(r->zeros.len);
}

/* How many blocks of zeros follow each other from `from` on, each with the length of the longest block of hole behind its beginning. */
static uint64_t zeros_at(struct reader *r, uint64_t from)
{
    uint64_t end = r->sparse ? content_hole_end(r->fd, from) : from;
    if (end - from < r->class->max)
        return 0;
    zeros_once(r);
    return (end - from - r->class->max) / r->zeros.len + 1;
}

/* What could not be cut yet, then as much of the file as there is room for. If what is next to be cut lies in a hole: blocks of zeros, and
 * what is behind them. */
static int fill(struct reader *r)
{
    size_t left = r->end - r->used;
    r->nzeros = zeros_at(r, r->read - left);
    if (r->nzeros) {
        r->read += r->nzeros * r->zeros.len - left;
        left = 0;
    }
    if (!r->data)
        r->data = xrealloc(NULL, 1, r->cap);
    memmove(r->data, r->data + r->used, left);
    r->used = 0;
    r->end = left;
    size_t want = r->cap - left;
    ssize_t n = content_read_at(r->fd, r->data + left, want, r->read);
    if (n < 0)
        return (int)n;
    r->end += (size_t)n;
    r->read += (uint64_t)n;
    r->eof = (size_t)n < want;
    return r->read > r->size || (r->eof && r->read != r->size) ? changed(r->size) : 0;
}

/* Blocks are final as long as a whole largest block, or the end of the file, lies behind their beginning. */
static void cut(struct reader *r)
{
    r->n = 0;
    while (r->n < CUTS && r->used < r->end && (r->eof || r->end - r->used >= r->class->max)) {
        size_t len = chunk_cut(r->gear, r->class, r->data + r->used, r->end - r->used);
        r->ref[r->n++].len = (uint32_t)len;
        r->used += len;
    }
}

static void hash(struct reader *r)
{
    struct bytes block[CUTS];
    struct id id[CUTS];
    const uint8_t *p = r->data;
    for (size_t i = 0; i < r->n; i++) {
        block[i] = (struct bytes){ p, r->ref[i].len };
        p += r->ref[i].len;
    }
    lanes_hash(block, r->n, id);
    for (size_t i = 0; i < r->n; i++)
        r->ref[i].id = id[i];
}

static int append(struct reader *r)
{
    for (uint64_t i = 0; i < r->nzeros + r->n; i++) {
        uint8_t *out = buf_room(&r->refs, BLOCK_REF);
        if (!out)
            return err_set(ERR_FULL, "more than %u blocks: the file is too large", LIMIT_BLOCKS);
        block_ref_put(out, i < r->nzeros ? &r->zeros : &r->ref[i - r->nzeros]);
    }
    return 0;
}

/* One more window. Room for CUTS blocks may have ended its cutting: then it is gone on with. */
static int step(struct reader *r)
{
    if (r->stop && atomic_load_explicit(r->stop, memory_order_relaxed))
        return err_set(ERR_CLOSED, "reading was given up");
    r->nzeros = 0;
    int code = fill(r);
    if (code < 0)
        return code;
    cut(r);
    hash(r);
    return append(r);
}

static bool over(const struct reader *r) { return r->eof && r->used == r->end; }

/* Until it has a cut at `place` or behind it, or all. */
static int read_to(struct reader *r, uint64_t place)
{
    int code = 0;
    while (code == 0 && !over(r) && r->read - (r->end - r->used) < place)
        code = step(r);
    return code;
}

static void reader_release(struct reader *r)
{
    free(r->data);
    buf_release(&r->refs);
}

/* ---- two of them ---- */

static void *read_rest(void *arg)
{
    struct reader *r = arg;
    r->code = read_to(r, UINT64_MAX);
    if (r->code < 0)
        snprintf(r->text, sizeof r->text, "%s", err_text());
    return NULL;
}

/* Where a list is gone through: blocks that were passed, and where in the file the next one begins. */
struct place { size_t i; uint64_t at; };

/* false: there are no more. */
static bool pass(const struct buf *refs, struct place *p)
{
    struct block_ref ref;
    if (p->i == refs->len / BLOCK_REF)
        return false;
    block_ref_get(refs->data + p->i++ * BLOCK_REF, &ref);
    p->at += ref.len;
    return true;
}

/* Reads on with the first until both have a cut at one place, and takes the rest from the second, which began at `middle`. */
static int join(struct reader *r, const struct reader *second, uint64_t middle)
{
    struct place a = {0}, b = { 0, middle };
    int code = second->code < 0 ? err_set((enum err)second->code, "%s", second->text) : 0;
    while (code == 0 && a.at != b.at) {
        if (a.at > b.at)
            (void)pass(&second->refs, &b);
        else if (!pass(&r->refs, &a))
            code = step(r);
    }
    if (code < 0)
        return code;
    r->refs.len = a.i * BLOCK_REF;
    buf_add(&r->refs, second->refs.data + b.i * BLOCK_REF, second->refs.len - b.i * BLOCK_REF);
    if (!buf_ok(&r->refs))
        return err_set(ERR_FULL, "more than %u blocks: the file is too large", LIMIT_BLOCKS);
    return 0;
}

/* The middle is at a multiple of the largest block: what is all alike is cut there, too. In what has holes cuts may be long in meeting, and
 * there is less to read. */
static int read_blocks(struct reader *r)
{
    uint64_t middle = r->size / 2 / r->class->max * r->class->max;
    AUTO(reader_release) struct reader second = *r;
    pthread_t thread;
    second.read = middle;
    if (r->size < THREAD_FROM || r->sparse || pthread_create(&thread, NULL, read_rest, &second) != 0)
        return read_to(r, UINT64_MAX);
    int code = read_to(r, middle);
    pthread_join(thread, NULL);
    return code < 0 ? code : join(r, &second, middle);
}

static int read_inline(struct reader *r, struct content_list *out)
{
    int code = fill(r);
    if (code < 0)
        return code;
    *out = content_list_inline(r->data, r->end);
    return 0;
}

static int read_list(struct reader *r, struct content_list *out)
{
    int code = read_blocks(r);
    if (code < 0)
        return code;
    out->type = CONTENT_BLOCKS;
    out->nblocks = (uint32_t)(r->refs.len / BLOCK_REF);
    out->root = block_root(r->refs.data, out->nblocks);
    size_t len;
    if (out->nblocks >= 2)
        out->refs = buf_steal(&r->refs, &len);
    return 0;
}

int content_read(int fd, uint64_t size, const struct gear *g, int previous_class, const _Atomic bool *stop,
                 struct content_list *out)
{
    *out = (struct content_list){ .size = size };
    if (size > LIMIT_FILE_SIZE)
        return err_set(ERR_FULL, "%llu bytes: the largest file is %llu", (unsigned long long)size, LIMIT_FILE_SIZE);
    out->class = size > LIMIT_INLINE ? (uint8_t)chunk_class_of(size, previous_class) : 0;
    /* One byte more than a small file has, so that its growth and its end are seen by the same read. */
    uint64_t window = WINDOW_MAXES * (uint64_t)chunk_classes[out->class].max;
    AUTO(reader_release) struct reader r = { .fd = fd, .gear = g, .class = &chunk_classes[out->class], .stop = stop, .size = size,
                                             .cap = (size_t)(size < window ? size + 1 : window),
                                             .refs = BUF_INIT((size_t)LIMIT_BLOCKS * BLOCK_REF) };
    if (size > window) {
        (void)!posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
        r.sparse = is_sparse(fd);
    }
    return size <= LIMIT_INLINE ? read_inline(&r, out) : read_list(&r, out);
}
