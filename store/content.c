#include "store/content.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/limits.h"
#include "store/sys.h"

void content_list_release(struct content_list *c)
{
    free(c->refs);
    *c = (struct content_list){0};
}

static int io_error(const char *what, uint64_t off)
{
    enum err code = errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? ERR_FULL : ERR_IO;
    return err_set(code, "%s at byte %llu: %m", what, (unsigned long long)off);
}

/* Reads until len bytes or the end of the file: the number of bytes, or ERR_IO. */
static ssize_t read_at(int fd, uint8_t *p, size_t len, uint64_t off)
{
    size_t got = 0;
    while (got < len) {
        ssize_t n = sys->pread(fd, p + got, len - got, (off_t)(off + got));
        if (n == 0)
            break;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return io_error("read", off + got);
        got += (size_t)n;
    }
    return (ssize_t)got;
}

static int write_at(int fd, const uint8_t *p, size_t len, uint64_t off)
{
    while (len > 0) {
        ssize_t n = sys->pwrite(fd, p, len, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return io_error("write", off);
        p += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

/* ---- reading ---- */

/* A window over the file: data[begin..end) was read and not yet cut; it begins at offset `cut` of the file. */
struct reader {
    int fd;
    uint8_t *data;
    size_t cap, begin, end;
    uint64_t cut;
    bool eof;
};

/* Reads on until the window is full or the file ends. */
static int reader_fill(struct reader *r)
{
    memmove(r->data, r->data + r->begin, r->end - r->begin);
    r->end -= r->begin;
    r->begin = 0;
    size_t want = r->cap - r->end;
    ssize_t n = read_at(r->fd, r->data + r->end, want, r->cut + r->end);
    if (n < 0)
        return (int)n;
    r->end += (size_t)n;
    r->eof = (size_t)n < want;
    return 0;
}

static int changed(uint64_t expected)
{
    return err_set(ERR_CHANGED, "the file no longer has %llu bytes: it is being written", (unsigned long long)expected);
}

/* Cuts and hashes block after block into refs. */
static int read_blocks(struct reader *r, const struct gear *g, const struct chunk_class *k, uint64_t size,
                       const _Atomic bool *stop, struct buf *refs)
{
    for (;;) {
        if (stop && atomic_load_explicit(stop, memory_order_relaxed))
            return err_set(ERR_CLOSED, "reading was given up");
        if (r->end - r->begin < k->max && !r->eof) {
            int code = reader_fill(r);
            if (code < 0)
                return code;
        }
        size_t left = r->end - r->begin;
        if (left == 0)
            return r->cut == size ? 0 : changed(size);
        if (r->cut + left > size)
            return changed(size);
        const uint8_t *block = r->data + r->begin;
        size_t len = chunk_cut(g, k, block, left);
        struct block_ref ref = { id_hash(block, len), (uint32_t)len };
        uint8_t *out = buf_room(refs, BLOCK_REF);
        if (!out)
            return err_set(ERR_FULL, "more than %u blocks: the file is too large", LIMIT_BLOCKS);
        block_ref_put(out, &ref);
        r->begin += len;
        r->cut += len;
    }
}

static int read_inline(struct reader *r, uint64_t size, struct content_list *out)
{
    int code = reader_fill(r);
    if (code < 0)
        return code;
    if (r->end != size)
        return changed(size);
    memcpy(out->inline_bytes, r->data, (size_t)size);
    out->type = CONTENT_INLINE;
    out->inline_len = (size_t)size;
    out->root = id_hash(r->data, (size_t)size);
    return 0;
}

static int read_list(struct reader *r, const struct gear *g, const _Atomic bool *stop, struct content_list *out)
{
    AUTO(buf_release) struct buf refs = BUF_INIT((size_t)LIMIT_BLOCKS * BLOCK_REF);
    int code = read_blocks(r, g, &chunk_classes[out->class], out->size, stop, &refs);
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
    /* One byte more than a small file has, so that its growth is seen by the same read. */
    uint64_t window = 2 * (uint64_t)chunk_classes[out->class].max;
    struct reader r = { .fd = fd, .cap = (size_t)(size < window ? size + 1 : window) };
    AUTOFREE uint8_t *data = xrealloc(NULL, 1, r.cap);
    r.data = data;
    if (size > window)
        (void)!posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return size <= LIMIT_INLINE ? read_inline(&r, size, out) : read_list(&r, g, stop, out);
}

/* ---- blocks of known content ---- */

int content_block(int fd, uint64_t off, uint32_t len, const struct id *id, uint8_t *buf)
{
    ssize_t n = read_at(fd, buf, len, off);
    if (n < 0)
        return (int)n;
    struct id found = id_hash(buf, (size_t)n);
    if ((size_t)n != len || !id_eq(&found, id))
        return err_set(ERR_CORRUPT, "block at byte %llu: not the bytes that its id names", (unsigned long long)off);
    return 0;
}

/* A list of one block needs no refs: its root is the block. */
static struct block_ref list_ref(const uint8_t *refs, uint32_t i, const struct id *root, uint64_t size)
{
    struct block_ref r;
    if (refs)
        block_ref_get(refs + (size_t)i * BLOCK_REF, &r);
    else
        r = (struct block_ref){ *root, (uint32_t)size };
    assert(r.len <= LIMIT_BLOCK);
    return r;
}

/* Room for the largest block of the list. */
static uint8_t *list_buffer(const uint8_t *refs, uint32_t nblocks, const struct id *root, uint64_t size)
{
    uint32_t most = 1;
    for (uint32_t i = 0; i < nblocks; i++) {
        struct block_ref r = list_ref(refs, i, root, size);
        most = r.len > most ? r.len : most;
    }
    return xrealloc(NULL, 1, most);
}

static bool all_zero(const uint8_t *p, size_t len)
{
    return len > 0 && p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

/* Calls for every block of c in fd, verified; writes them to out_fd unless that is -1. `holes`: out_fd reads as zeros already. */
static int each_block(int fd, int out_fd, bool holes, const struct content_list *c)
{
    uint32_t n = c->refs ? c->nblocks : 1;
    AUTOFREE uint8_t *data = list_buffer(c->refs, n, &c->root, c->size);
    uint64_t off = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct block_ref r = list_ref(c->refs, i, &c->root, c->size);
        int code = content_block(fd, off, r.len, &r.id, data);
        if (code == 0 && out_fd >= 0 && !(holes && all_zero(data, r.len)))
            code = write_at(out_fd, data, r.len, off);
        if (code < 0)
            return code;
        off += r.len;
    }
    return 0;
}

static int set_length(int fd, uint64_t len)
{
    return sys->ftruncate(fd, (off_t)len) == 0 ? 0 : io_error("setting the length", len);
}

int content_copy(int fd, int out_fd, const struct content_list *c)
{
    assert(c->type != CONTENT_NONE && (c->type == CONTENT_INLINE || c->nblocks == 1 || c->refs));
    if (sys->clone(out_fd, fd) == 0) {
        int code = set_length(out_fd, c->size);
        return code < 0 ? code : each_block(out_fd, -1, false, c);
    }
    /* What is sparse stays sparse: then even the preallocated space of out_fd goes. */
    off_t hole = lseek(fd, 0, SEEK_HOLE);
    bool sparse = hole >= 0 && (uint64_t)hole < c->size;
    int code = sparse ? set_length(out_fd, 0) : 0;
    if (code == 0)
        code = set_length(out_fd, c->size);
    return code < 0 ? code : each_block(fd, out_fd, sparse, c);
}

int content_have(int fd, const uint8_t *refs, uint32_t nblocks, const struct id *root, uint64_t size, uint8_t *bitmap)
{
    assert(nblocks >= 1 && (refs || nblocks == 1));
    AUTOFREE uint8_t *data = list_buffer(refs, nblocks, root, size);
    memset(bitmap, 0, ((size_t)nblocks + 7) / 8);
    uint64_t off = 0;
    for (uint32_t i = 0; i < nblocks; i++) {
        struct block_ref r = list_ref(refs, i, root, size);
        int code = content_block(fd, off, r.len, &r.id, data);
        if (code == 0)
            bitmap[i / 8] = (uint8_t)(bitmap[i / 8] | 1u << (i % 8));
        else if (code != ERR_CORRUPT)
            return code;
        off += r.len;
    }
    return 0;
}
