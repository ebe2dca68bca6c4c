/* What this device has kept of a path and no version names: what a reader had changed before another version came, what stood in the way
 * and could not be put back, what a check has put aside. Nobody else has it. It is listed and read beside the versions, under names that
 * no version has: "kept-" and the beginning of the content's root. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api_priv.h"
#include "proto/hlc.h"

#define PREFIX "kept-"
enum { DIGITS = 16 };

const char *kept_id(const struct id *root, char out[static VERSION_ID])
{
    char hex[ID_HEX];
    snprintf(out, VERSION_ID, PREFIX "%.*s", DIGITS, id_hex(root, hex));
    return out;
}

bool kept_is_id(const char *id) { return strncmp(id, PREFIX, strlen(PREFIX)) == 0; }

const struct past *kept_find(const struct history *h, const char *id, size_t *found)
{
    const struct past *p = NULL;
    *found = 0;
    for (size_t i = 0; strlen(id) > strlen(PREFIX) && i < h->nkept; i++) {
        char is[VERSION_ID];
        if (strncasecmp(kept_id(&h->kept[i].row.root, is), id, strlen(id)) != 0)
            continue;
        p = &h->kept[i];
        ++*found;
    }
    return p;
}

/* ---- the contents of a path ---- */

static bool is_version(const struct history *h, const struct id *root)
{
    for (size_t i = 0; i < h->nv; i++)
        if (id_eq(&h->v[i].row.root, root))
            return true;
    return false;
}

/* As which it is brought back: nothing but the content is on record. */
static uint32_t mode_of(const struct history *h)
{
    for (size_t i = 0; i < h->nv; i++)
        if (h->v[i].ent.kind == KIND_FILE)
            return h->v[i].ent.mode;
    return 0644;
}

struct rows { struct ix_kept *v; size_t n; };

static int add_row(void *arg, const struct ix_kept *row)
{
    struct rows *r = arg;
    if (row->entry || id_is_none(&row->root))
        return 0;
    r->v = xrealloc(r->v, r->n + 1, sizeof *r->v);
    r->v[r->n] = *row;
    r->v[r->n++].name = NULL;
    return 0;
}

/* One file may be on record in several cuts (pull_kept.c): equal in all but the root. A version that names one of them names all. */
static bool is_same(const struct ix_kept *a, const struct ix_kept *b)
{
    return id_eq(&a->root, &b->root) || (a->kept_ms == b->kept_ms && a->size == b->size);
}

static bool is_listed(const struct history *h, const struct rows *r, size_t i)
{
    for (size_t k = 0; k < r->n; k++)
        if (is_same(&r->v[k], &r->v[i]) && (is_version(h, &r->v[k].root) || k > i))
            return false;                /* of a content that was kept several times the last one */
    return true;
}

static int add_kept(struct history *h, const struct ix_kept *row)
{
    AUTO(buf_release) struct buf refs = BUF_INIT((size_t)LIMIT_BLOCKS * BLOCK_REF);
    int r = index_tree_get(h->n->index, &row->root, &refs);
    if (r < 0 && r != ERR_NOTFOUND)
        return r;
    struct content content = {.type = row->size ? CONTENT_BLOCKS : CONTENT_INLINE, .root = row->root,
                              .nblocks = !row->size ? 0 : refs.len ? (uint32_t)(refs.len / BLOCK_REF) : 1};
    struct past *p = &h->kept[h->nkept++];
    *p = (struct past){.row = {.path = h->path, .kind = KIND_FILE, .hlc = hlc_make(row->kept_ms, 0), .size = row->size, .root = row->root}};
    p->ent = (struct entry){.kind = KIND_FILE, .path = {(const uint8_t *)h->name, h->len}, .mode = mode_of(h), .size = row->size,
                            .mtime_ns = (int64_t)(hlc_ms(p->row.hlc) * 1000000), .content = content};
    return 0;
}

static int newest_first(const void *a, const void *b)
{
    const struct ix_entry *x = &((const struct past *)a)->row, *y = &((const struct past *)b)->row;
    return (x->hlc < y->hlc) - (x->hlc > y->hlc);
}

int kept_load(struct history *h)
{
    struct rows rows = {0};
    int r = index_kept_of_path(h->n->index, h->path, add_row, &rows);
    h->kept = xcalloc(rows.n + 1, sizeof *h->kept);
    for (size_t i = 0; r == 0 && i < rows.n; i++)
        if (is_listed(h, &rows, i))
            r = add_kept(h, &rows.v[i]);
    free(rows.v);
    if (r == 0)
        qsort(h->kept, h->nkept, sizeof *h->kept, newest_first);
    return r;
}
