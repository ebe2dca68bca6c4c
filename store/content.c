#include "store/content_priv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/lanes.h"
#include "proto/limits.h"
#include "store/sys.h"

void content_list_release(struct content_list *c)
{
    free((void *)(uintptr_t)c->inline_bytes);
    free(c->refs);
    *c = (struct content_list){0};
}

struct content_list content_list_inline(const void *bytes, size_t len)
{
    uint8_t *copy = xcalloc(len + 1, 1);   /* no bytes are not NULL */
    if (len)
        memcpy(copy, bytes, len);
    return (struct content_list){ .type = CONTENT_INLINE, .size = len, .inline_len = len, .inline_bytes = copy, .root = id_hash(copy, len) };
}

int content_io_error(const char *what, uint64_t off)
{
    enum err code = errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? ERR_FULL : ERR_IO;
    return err_set(code, "%s at byte %llu: %m", what, (unsigned long long)off);
}

ssize_t content_read_at(int fd, uint8_t *p, size_t len, uint64_t off)
{
    size_t got = 0;
    while (got < len) {
        ssize_t n = sys->pread(fd, p + got, len - got, (off_t)(off + got));
        if (n == 0)
            break;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return content_io_error("read", off + got);
        got += (size_t)n;
    }
    return (ssize_t)got;
}

uint64_t content_hole_end(int fd, uint64_t off)
{
    off_t end = lseek(fd, (off_t)off, SEEK_DATA);
    if (end < 0 && errno == ENXIO)
        end = lseek(fd, 0, SEEK_END);
    return end > (off_t)off ? (uint64_t)end : off;
}

static int write_at(int fd, const uint8_t *p, size_t len, uint64_t off)
{
    while (len > 0) {
        ssize_t n = sys->pwrite(fd, p, len, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return content_io_error("write", off);
        p += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

/* ---- blocks of known content ---- */

int content_block(int fd, uint64_t off, uint32_t len, const struct id *id, uint8_t *buf)
{
    ssize_t n = content_read_at(fd, buf, len, off);
    if (n < 0)
        return (int)n;
    struct id found = id_hash(buf, (size_t)n);
    if ((size_t)n != len || !id_eq(&found, id))
        return err_set(ERR_CORRUPT, "block at byte %llu: not the bytes that its id names", (unsigned long long)off);
    return 0;
}

void content_blocks(struct block_read *b, size_t n)
{
    AUTOFREE struct bytes *text = xcalloc(n + 1, sizeof *text);
    AUTOFREE struct id *found = xcalloc(n + 1, sizeof *found);
    for (size_t i = 0; i < n; i++) {
        ssize_t r = content_read_at(b[i].fd, b[i].buf, b[i].len, b[i].off);
        b[i].code = r < 0 ? (int)r : r == (ssize_t)b[i].len ? 0 : ERR_CORRUPT;
        text[i] = (struct bytes){ b[i].buf, b[i].code < 0 ? 0 : b[i].len };
    }
    lanes_hash(text, n, found);
    for (size_t i = 0; i < n; i++)
        if (b[i].code == 0 && !id_eq(&found[i], &b[i].id))
            b[i].code = ERR_CORRUPT;
}

struct id content_zeros(uint32_t len)
{
    AUTOFREE uint8_t *zeros = xcalloc((size_t)len + 1, 1);
    return id_hash(zeros, len);
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

/* Blocks of a list that follow each other, read and verified together: as many as fill all lanes, if they are not too large. Or one block
 * that lies in a hole: its bytes are known without being read, and are not in its buf. */
enum { BATCH = 16, BATCH_BYTES = 16 << 20 };
struct batch {
    const uint8_t *refs; struct id root; uint64_t size;      /* the list */
    uint32_t nblocks, next; uint64_t off;                    /* of it: blocks; the first that was not read yet, and where it lies */
    struct block_read v[BATCH]; size_t n;
    uint8_t *data; size_t room;
    bool holes, hole;                                        /* holes are looked for; this is a block in one */
    struct block_ref zeros;                                  /* the last block of zeros that was met */
};

static void batch_begin(struct batch *g, bool holes, const uint8_t *refs, uint32_t nblocks, const struct id *root, uint64_t size)
{
    *g = (struct batch){ .refs = refs, .root = *root, .size = size, .nblocks = nblocks, .holes = holes };
    g->room = size < BATCH_BYTES ? (size_t)size : BATCH_BYTES;
    g->data = xrealloc(NULL, 1, g->room + 1);
}

static void batch_release(struct batch *g) { free(g->data); }

static int verify_zeros(struct batch *g, const struct block_ref *r)
{
    if (g->zeros.len != r->len)
        g->zeros = (struct block_ref){ content_zeros(r->len), r->len };
    return id_eq(&g->zeros.id, &r->id) ? 0 : ERR_CORRUPT;
}

/* false: there are no more. */
static bool batch_read(struct batch *g, int fd)
{
    size_t used = 0;
    g->hole = false;
    for (g->n = 0; g->next < g->nblocks && g->n < BATCH && !g->hole; g->next++) {
        struct block_ref r = list_ref(g->refs, g->next, &g->root, g->size);
        bool hole = g->holes && content_hole_end(fd, g->off) >= g->off + r.len;
        if (r.len > g->room - used || (hole && g->n))
            break;
        g->hole = hole;
        g->v[g->n++] = (struct block_read){ .fd = fd, .off = g->off, .len = r.len, .id = r.id, .buf = g->data + used };
        used += r.len;
        g->off += r.len;
        if (hole)
            g->v[0].code = verify_zeros(g, &r);
    }
    assert(g->n || g->next == g->nblocks);
    if (!g->hole)
        content_blocks(g->v, g->n);
    return g->n > 0;
}

static bool all_zero(const uint8_t *p, size_t len)
{
    return len > 0 && p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

/* Verifies every block of c in fd; writes them to out_fd unless that is -1. `holes`: what is not written reads as zeros already. */
static int each_block(int fd, int out_fd, bool holes, const struct content_list *c)
{
    AUTO(batch_release) struct batch g;
    batch_begin(&g, holes, c->refs, c->refs ? c->nblocks : 1, &c->root, c->size);
    while (batch_read(&g, fd))
        for (size_t i = 0; i < g.n; i++) {
            const struct block_read *b = &g.v[i];
            if (g.hole && b->code == 0)
                continue;
            int code = b->code < 0 ? content_block(fd, b->off, b->len, &b->id, b->buf) : 0;      /* again, for the text */
            if (code == 0 && out_fd >= 0 && !(holes && all_zero(b->buf, b->len)))
                code = write_at(out_fd, b->buf, b->len, b->off);
            if (code < 0)
                return code;
        }
    return 0;
}

static int set_length(int fd, uint64_t len)
{
    return sys->ftruncate(fd, (off_t)len) == 0 ? 0 : content_io_error("setting the length", len);
}

int content_copy(int fd, int out_fd, const struct content_list *c)
{
    assert(c->type != CONTENT_NONE && (c->type == CONTENT_INLINE || c->nblocks == 1 || c->refs));
    if (sys->clone(out_fd, fd) == 0) {
        int code = set_length(out_fd, c->size);
        return code < 0 ? code : each_block(out_fd, -1, true, c);
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
    AUTO(batch_release) struct batch g;
    batch_begin(&g, true, refs, nblocks, root, size);
    memset(bitmap, 0, ((size_t)nblocks + 7) / 8);
    while (batch_read(&g, fd))
        for (size_t i = 0; i < g.n; i++) {
            const struct block_read *b = &g.v[i];
            size_t at = g.next - g.n + i;
            if (b->code == 0)
                bitmap[at / 8] = (uint8_t)(bitmap[at / 8] | 1u << (at % 8));
            else if (b->code != ERR_CORRUPT)
                return content_block(fd, b->off, b->len, &b->id, b->buf);     /* again, for the text */
        }
    return 0;
}
