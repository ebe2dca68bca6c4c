#include "store/content_priv.h"

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
    return sys->ftruncate(fd, (off_t)len) == 0 ? 0 : content_io_error("setting the length", len);
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
