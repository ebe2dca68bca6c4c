/* Where a content lies on this disk. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/serve.h"
#include "store/sys.h"

enum { PACKED_LOOKS = 16, TMP = 64 };

void place_of_release(struct place_of *p)
{
    free(p->path);
    free(p->refs);
    free(p->block);
    *p = (struct place_of){0};
}

/* ---- in the loop ---- */

struct search { struct index *ix; struct place_of *out; unsigned looks; };

static int in_folder(void *arg, const struct ix_local *l)
{
    struct search *s = arg;
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    if (l->stamp.kind != STAMP_FILE || index_path_get(s->ix, l->path, &name, NULL) < 0)
        return 0;
    *s->out = (struct place_of){.len = name.len, .stamp = l->stamp};
    s->out->path = (char *)buf_steal(&name, &s->out->len);
    return 1;
}

/* A file is quicker to read than a pack, and where the content was fetched again it is the sound one. */
static int among_kept(void *arg, const struct ix_kept *k)
{
    struct search *s = arg;
    if (!*k->name) {
        *s->out = (struct place_of){.kept = true, .packed = true, .root = k->root, .size = k->size};
        return ++s->looks == PACKED_LOOKS;
    }
    *s->out = (struct place_of){.kept = true, .path = xstrdup(k->name), .len = strlen(k->name)};
    return 1;
}

static int answer(int r, const struct place_of *out)
{
    return r < 0 ? r : out->path || out->packed ? 0 : err_set(ERR_NOTFOUND, "content: not on this device");
}

int serve_find_kept(struct index *ix, const struct id *root, struct place_of *out)
{
    struct search s = {ix, out, 0};
    *out = (struct place_of){0};
    return answer(index_kept_by_root(ix, root, among_kept, &s), out);
}

int serve_find(struct index *ix, const struct id *root, struct place_of *out)
{
    struct search s = {ix, out, 0};
    *out = (struct place_of){0};
    int r = index_local_by_root(ix, root, in_folder, &s);
    return r == 0 ? serve_find_kept(ix, root, out) : answer(r, out);
}

static int gather_list(struct index *ix, struct place_of *at)
{
    AUTO(buf_release) struct buf refs = BUF_INIT((size_t)LIMIT_BLOCKS * BLOCK_REF);
    size_t len;
    int r = index_tree_get(ix, &at->root, &refs);
    if (r == ERR_NOTFOUND && at->size <= LIMIT_BLOCK) {
        at->nblocks = 1;
        return 0;
    }
    if (r < 0)
        return r;
    at->nblocks = (uint32_t)(refs.len / BLOCK_REF);
    at->refs = buf_steal(&refs, &len);
    return 0;
}

static struct block_ref ref_of(const struct place_of *at, uint32_t i)
{
    struct block_ref ref = {at->root, (uint32_t)at->size};
    if (at->refs)
        block_ref_get(at->refs + (size_t)i * BLOCK_REF, &ref);
    return ref;
}

int serve_gather(struct index *ix, struct place_of *at)
{
    if (!at->packed || at->block)
        return 0;
    int r = gather_list(ix, at);
    at->block = xcalloc((size_t)at->nblocks + 1, sizeof *at->block);
    for (uint32_t i = 0; r == 0 && i < at->nblocks; i++) {
        struct ix_piece p;
        struct id id = ref_of(at, i).id;
        r = index_piece_get(ix, PACK_BLOCK, &id, &p);
        at->block[i] = p.at;
    }
    return r == ERR_NOTFOUND ? err_set(ERR_CORRUPT, "content: a block of it has gone from its pack: run lanyard check") : r;
}

/* ---- in the worker ---- */

static int unpack(const struct folder *f, const struct place_of *at, int fd)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BLOCK);
    uint64_t off = 0;
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < at->nblocks; i++) {
        struct block_ref ref = ref_of(at, i);
        r = pack_read(folder_packs(f), &at->block[i], PACK_BLOCK, &ref.id, &b);
        if (r == 0 && b.len != ref.len)
            r = err_set(ERR_CORRUPT, "a block of another length");
        for (size_t done = 0; r == 0 && done < b.len; ) {
            ssize_t n = sys->pwrite(fd, b.data + done, b.len - done, (off_t)(off + done));
            if (n < 0 && errno != EINTR)
                r = err_set(errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO, "unpacking: %m");
            done += n > 0 ? (size_t)n : 0;
        }
        off += b.len;
    }
    return r;
}

/* The name is taken away again before a byte is written: whatever happens nothing is left behind. */
static int open_packed(const struct folder *f, const struct place_of *at, int *fd)
{
    char tmp[TMP];
    assert(at->block);
    *fd = -1;
    snprintf(tmp, sizeof tmp, "u-%llx", (unsigned long long)(uintptr_t)at);
    int r = folder_room(f, at->size);
    if (r == 0)
        r = folder_tmp_create(f, tmp, at->size, fd);
    if (r == 0)
        r = folder_tmp_remove(f, tmp);
    if (r == 0)
        r = unpack(f, at, *fd);
    if (r < 0 && *fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    return r;
}

int serve_open(const struct folder *f, const struct place_of *at, int *fd)
{
    if (at->packed)
        return open_packed(f, at, fd);
    return at->kept ? folder_kept_open(f, at->path, fd) : folder_open_file(f, at->path, at->len, fd);
}
