#include "tests/e2e/hostile/book.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "proto/hlc.h"

#define HOUR_MS (3600 * 1000)

uint64_t lie_hlc(void) { return hlc_make(now_ms(), 0); }

void book_open(struct book *b, const struct liar *l, const uint8_t inc[8])
{
    *b = (struct book){ .l = l, .sets = BUF_INIT(LIMIT_BODY), .items = BUF_INIT(LIMIT_BODY) };
    if (inc)
        memcpy(b->inc, inc, sizeof b->inc);
    else
        randombytes_buf(b->inc, sizeof b->inc);
    b->sid = sid_make(&l->group->id, &l->keys->dev, b->inc);
}

void book_add(struct book *b, const struct lie *e)
{
    AUTO(buf_release) struct buf ent = BUF_INIT(LIMIT_BODY);
    const struct dots none = { 0 };
    mp_put_array(&ent, 11);
    mp_put_u64(&ent, e->kind);
    mp_put_bin(&ent, e->path, e->pathlen);
    ctx_put(&ent, e->ctx ? e->ctx : &none);
    dots_put(&ent, e->except ? e->except : &none);
    mp_put_u64(&ent, e->hlc ? e->hlc : lie_hlc());
    mp_put_u64(&ent, e->mode);
    mp_put_u64(&ent, e->size);
    mp_put_i64(&ent, e->mtime_ns);
    if (e->content.len)
        buf_add(&ent, e->content.p, e->content.len);
    else
        mp_put_nil(&ent);
    mp_put_nil(&ent);
    mp_put_u64(&ent, 0);
    b->leaf[b->nitems++] = merkle_leaf(ent.data, ent.len);
    cs_put_entry(&b->items, &(struct bytes){ ent.data, ent.len });
}

void book_seal(struct book *b, enum twist t)
{
    AUTO(buf_release) struct buf rec = BUF_INIT(1024);
    uint8_t sig[SIG_LEN];
    struct header h = { .group = b->l->group->id, .dev = b->l->keys->dev, .first = b->known + 1, .count = b->nitems, .prev = b->tip,
                        .hlc_max = hlc_make(now_ms() + (t == AHEAD ? HOUR_MS : 1000), 0),
                        .wall_ms = now_ms() + (t == AHEAD ? HOUR_MS : 0), .ctl_n = b->l->group->ctl_n };
    memcpy(h.inc, b->inc, sizeof h.inc);
    h.root = t == WRONG_ROOT ? id_hash("wrong", 5) : merkle_root(b->leaf, b->nitems);
    h.count += t == COUNT_LIES ? 5 : 0;
    must(header_encode(&rec, sig, &h, b->l->keys));
    if (t == BAD_SIGNATURE)
        sig[10] ^= 1;
    if (t == FLIPPED_BYTE)
        b->items.data[b->items.len - 5] ^= 1;
    cs_put_head(&b->sets, &(struct bytes){ rec.data, rec.len }, sig, b->nitems);
    buf_add(&b->sets, b->items.data, b->items.len);
    b->tip = id_hash(rec.data, rec.len);
    b->known += h.count;
    b->nsets++;
    b->nitems = 0;
    buf_clear(&b->items);
}

static void put_inline(struct buf *c, const void *data, size_t len)
{
    mp_put_array(c, 2);
    mp_put_u64(c, 0);
    mp_put_bin(c, data, len);
}

void book_text(struct book *b, const char *path, const char *content)
{
    AUTO(buf_release) struct buf c = BUF_INIT(8192);
    put_inline(&c, content, strlen(content));
    book_add(b, &(struct lie){ .kind = KIND_FILE, .path = path, .pathlen = strlen(path), .mode = 0644, .size = strlen(content),
                               .mtime_ns = 1500000000000000000, .content = { c.data, c.len } });
}

void book_link(struct book *b, const char *path, const char *target)
{
    AUTO(buf_release) struct buf c = BUF_INIT(8192);
    put_inline(&c, target, strlen(target));
    book_add(b, &(struct lie){ .kind = KIND_SYMLINK, .path = path, .pathlen = strlen(path), .mode = 0777, .size = strlen(target),
                               .content = { c.data, c.len } });
}

void book_content(struct book *b, const char *path, const struct known_file *f)
{
    AUTO(buf_release) struct buf c = BUF_INIT(8192);
    mp_put_array(&c, 4);
    mp_put_u64(&c, 1);
    mp_put_u64(&c, 0);
    mp_put_u64(&c, f->nblocks);
    mp_put_bin(&c, f->root.b, ID_LEN);
    book_add(b, &(struct lie){ .kind = KIND_FILE, .path = path, .pathlen = strlen(path), .mode = 0644, .mtime_ns = 1500000000000000000,
                               .size = f->size, .content = { c.data, c.len } });
}

struct id book_blocks(struct book *b, const char *path, uint32_t n, uint32_t len, uint64_t say_size, uint32_t say_n)
{
    uint8_t *refs = xcalloc(n, BLOCK_REF);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *data = xcalloc(len, 1);
        randombytes_buf(data, len);
        struct block_ref ref = { id_hash(data, len), len };
        block_ref_put(refs + (size_t)i * BLOCK_REF, &ref);
        b->block[b->nblock].id = ref.id;
        b->block[b->nblock].data = data;
        b->block[b->nblock++].len = len;
    }
    struct id root = block_root(refs, n);
    b->list[b->nlist].root = root;
    b->list[b->nlist].refs = refs;
    b->list[b->nlist++].n = n;
    book_content(b, path, &(struct known_file){ root, say_n ? say_n : n, say_size ? say_size : (uint64_t)n * len });
    return root;
}

void book_first_of(const struct liar *l, const uint8_t inc[8], struct buf *out)
{
    AUTOFREE struct book *b = xcalloc(1, sizeof *b);
    char path[64] = "streams/", *hex = path + strlen(path);
    hex_encode(hex, inc, 8);
    book_open(b, l, inc);
    book_text(b, path, "one of many");
    book_seal(b, HONEST);
    buf_add(out, b->sets.data, b->sets.len);
    buf_release(&b->sets);
    buf_release(&b->items);
}
