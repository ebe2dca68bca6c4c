/* The record of a content in a pack: what an index that was lost is made anew from. */
#include <string.h>

#include "proto/path.h"
#include "store/packs_priv.h"

enum { CONTENT_HEAD = 12, ORIGIN_VERSION = 1, ORIGIN_HEAD = 15, CHECK = 8 };

static void put_check(struct buf *out, const uint8_t *of, size_t len)
{
    struct id check = id_hash(of, len);
    buf_add(out, check.b, CHECK);
}

void pack_content_put(struct buf *out, uint64_t size, const uint8_t *refs, uint32_t nblocks, const struct pack_origin *from)
{
    uint8_t head[CONTENT_HEAD], origin[ORIGIN_HEAD] = {ORIGIN_VERSION};
    put_le(head, size, 8);
    put_le(head + 8, nblocks, 4);
    buf_add(out, head, sizeof head);
    if (refs)
        buf_add(out, refs, (size_t)nblocks * BLOCK_REF);
    if (!from || from->len == 0)
        return;
    put_le(origin + 1, from->mode, 4);
    put_le(origin + 5, (uint64_t)from->mtime_ns, 8);
    put_le(origin + 13, from->len, 2);
    size_t at = out->len;
    buf_add(out, origin, sizeof origin);
    buf_add(out, from->path, from->len);
    if (buf_ok(out))
        put_check(out, out->data + at, out->len - at);
}

/* What a later version says is not for us; the content is what its root says all the same. */
static int origin_get(const uint8_t *p, size_t len, struct pack_origin *out)
{
    if (len == 0 || *p != ORIGIN_VERSION)
        return 0;
    if (len < ORIGIN_HEAD + CHECK)
        return err_set(ERR_CORRUPT, "pack: half a path");
    struct id check = id_hash(p, len - CHECK);
    *out = (struct pack_origin){.path = (const char *)p + ORIGIN_HEAD, .len = (size_t)get_le(p + 13, 2), .mode = (uint32_t)get_le(p + 1, 4) & 0777,
                                .mtime_ns = (int64_t)get_le(p + 5, 8)};
    if (memcmp(check.b, p + len - CHECK, CHECK) != 0 || out->len != len - ORIGIN_HEAD - CHECK || path_check(out->path, out->len) < 0)
        return err_set(ERR_CORRUPT, "pack: a path that is not what was written");
    return 0;
}

int pack_content_get(const struct id *root, const void *data, size_t len, struct pack_content *out)
{
    const uint8_t *p = data;
    if (len < CONTENT_HEAD)
        return err_set(ERR_CORRUPT, "pack: not a content");
    *out = (struct pack_content){.size = get_le(p, 8), .nblocks = (uint32_t)get_le(p + 8, 4)};
    size_t refs = out->nblocks < 2 ? 0 : (size_t)out->nblocks * BLOCK_REF;
    out->refs = refs ? p + CONTENT_HEAD : NULL;
    if (out->nblocks > LIMIT_BLOCKS || len - CONTENT_HEAD < refs || (!refs && out->size > LIMIT_BLOCK) ||
        (refs && block_list_check(out->refs, out->nblocks, root, out->size) < 0))
        return err_set(ERR_CORRUPT, "pack: a content that is not what its root says");
    return origin_get(p + CONTENT_HEAD + refs, len - CONTENT_HEAD - refs, &out->origin);
}
