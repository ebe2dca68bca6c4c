/* Reading a whole file: windows of it are read and cut in turn; each window's blocks are hashed while the next is read and cut, by a
 * second thread where the file is large enough to be worth one. Reading and cutting cost about as much as hashing.
 *
 * Holes. Where a cut lies depends on the bytes behind the cut before it and on nothing else, and a block has at most `max` bytes. So blocks
 * that begin with `max` zeros are all the same, and of a hole as long as that nothing has to be read to know them. */
#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
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

struct window {
    uint64_t zeros;                    /* blocks of zeros before it, which were not read */
    uint8_t *data; size_t end;         /* bytes read */
    size_t used;                       /* of them cut into blocks */
    struct block_ref ref[CUTS]; size_t n;
};

struct reader {
    int fd;
    const struct gear *gear;
    const struct chunk_class *class;
    uint64_t size, read;               /* expected; read so far */
    size_t cap;                        /* of a window */
    bool eof, threaded, ending;
    bool sparse; struct block_ref zeros;   /* there may be holes; the block that begins with zeros, once it is known */
    struct window window[2];
    struct window *to_hash;
    sem_t work, done;
    pthread_t thread;
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

/* What the window before could not cut, then as much of the file as there is room for. If what is next to be cut lies in a hole: blocks of
 * zeros, and what is behind them. */
static int fill(struct reader *r, struct window *w, const struct window *before)
{
    w->end = before ? before->end - before->used : 0;
    w->zeros = zeros_at(r, r->read - w->end);
    if (w->zeros) {
        r->read += w->zeros * r->zeros.len - w->end;
        w->end = 0;
    }
    if (!w->data)
        w->data = xrealloc(NULL, 1, r->cap);
    if (w->end)
        memcpy(w->data, before->data + before->used, w->end);
    size_t want = r->cap - w->end;
    ssize_t n = content_read_at(r->fd, w->data + w->end, want, r->read);
    if (n < 0)
        return (int)n;
    w->end += (size_t)n;
    r->read += (uint64_t)n;
    r->eof = (size_t)n < want;
    return r->read > r->size || (r->eof && r->read != r->size) ? changed(r->size) : 0;
}

/* Blocks are final as long as a whole largest block, or the end of the file, lies behind their beginning. */
static void cut(const struct reader *r, struct window *w)
{
    w->n = w->used = 0;
    while (w->n < CUTS && w->used < w->end && (r->eof || w->end - w->used >= r->class->max)) {
        size_t len = chunk_cut(r->gear, r->class, w->data + w->used, w->end - w->used);
        w->ref[w->n++].len = (uint32_t)len;
        w->used += len;
    }
}

static void hash(struct window *w)
{
    struct bytes block[CUTS];
    struct id id[CUTS];
    const uint8_t *p = w->data;
    for (size_t i = 0; i < w->n; i++) {
        block[i] = (struct bytes){ p, w->ref[i].len };
        p += w->ref[i].len;
    }
    lanes_hash(block, w->n, id);
    for (size_t i = 0; i < w->n; i++)
        w->ref[i].id = id[i];
}

static void *hash_thread(void *arg)
{
    struct reader *r = arg;
    for (;;) {
        while (sem_wait(&r->work) < 0)
            ;
        if (r->ending)
            return NULL;
        hash(r->to_hash);
        sem_post(&r->done);
    }
}

static void begin_hash(struct reader *r, struct window *w)
{
    r->to_hash = w;
    if (r->threaded)
        sem_post(&r->work);
}

static void end_hash(struct reader *r)
{
    if (!r->threaded)
        hash(r->to_hash);
    while (r->threaded && sem_wait(&r->done) < 0)
        ;
}

static int append(const struct reader *r, const struct window *w, struct buf *refs)
{
    for (uint64_t i = 0; i < w->zeros + w->n; i++) {
        uint8_t *out = buf_room(refs, BLOCK_REF);
        if (!out)
            return err_set(ERR_FULL, "more than %u blocks: the file is too large", LIMIT_BLOCKS);
        block_ref_put(out, i < w->zeros ? &r->zeros : &w->ref[i - w->zeros]);
    }
    return 0;
}

static int read_blocks(struct reader *r, const _Atomic bool *stop, struct buf *refs)
{
    struct window *w = &r->window[0], *next = &r->window[1];
    int code = fill(r, w, NULL);
    if (code == 0)
        cut(r, w);
    while (code == 0 && w->zeros + w->n) {
        bool more = !r->eof || w->used < w->end;
        begin_hash(r, w);
        if (stop && atomic_load_explicit(stop, memory_order_relaxed))
            code = err_set(ERR_CLOSED, "reading was given up");
        next->n = next->zeros = 0;
        if (code == 0 && more && (code = fill(r, next, w)) == 0)
            cut(r, next);
        end_hash(r);
        if (code == 0)
            code = append(r, w, refs);
        struct window *swap = w;
        w = next;
        next = swap;
    }
    return code;
}

static void start_thread(struct reader *r)
{
    if (r->size < THREAD_FROM || sem_init(&r->work, 0, 0) || sem_init(&r->done, 0, 0))
        return;
    r->threaded = pthread_create(&r->thread, NULL, hash_thread, r) == 0;   /* without one it only takes longer */
}

static void reader_release(struct reader *r)
{
    if (r->threaded) {
        r->ending = true;
        sem_post(&r->work);
        pthread_join(r->thread, NULL);
        sem_destroy(&r->work);
        sem_destroy(&r->done);
    }
    free(r->window[0].data);
    free(r->window[1].data);
}

static int read_inline(struct reader *r, struct content_list *out)
{
    struct window *w = &r->window[0];
    int code = fill(r, w, NULL);
    if (code < 0)
        return code;
    *out = content_list_inline(w->data, w->end);
    return 0;
}

static int read_list(struct reader *r, const _Atomic bool *stop, struct content_list *out)
{
    AUTO(buf_release) struct buf refs = BUF_INIT((size_t)LIMIT_BLOCKS * BLOCK_REF);
    start_thread(r);
    int code = read_blocks(r, stop, &refs);
    if (code < 0)
        return code;
    out->type = CONTENT_BLOCKS;
    out->nblocks = (uint32_t)(refs.len / BLOCK_REF);
    out->root = block_root(refs.data, out->nblocks);
    size_t len;
    if (out->nblocks >= 2)
        out->refs = buf_steal(&refs, &len);
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
    AUTO(reader_release) struct reader r = { .fd = fd, .gear = g, .class = &chunk_classes[out->class], .size = size,
                                             .cap = (size_t)(size < window ? size + 1 : window) };
    if (size > window) {
        (void)!posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
        r.sparse = is_sparse(fd);
    }
    return size <= LIMIT_INLINE ? read_inline(&r, out) : read_list(&r, stop, out);
}
