#include "proto/record.h"

#include <assert.h>
#include <string.h>

#include "proto/field.h"
#include "proto/note.h"
#include "proto/path.h"

#define ALG_INLINE 0u
#define ALG_BLOCKS 1u      /* FastCDC and BLAKE2b-256 */
#define CLASS_MAX  2u
#define MODE_MAX   0777u

static void content_read(struct field *f, struct content *c)
{
    if (!f->code && mp_nil(&f->m))
        return;
    uint32_t n = field_list(f, "content", 2, 4);
    uint64_t alg = field_u64(f, "content alg", ALG_INLINE, ALG_BLOCKS);
    field_rule(f, n == (alg == ALG_INLINE ? 2 : 4), "content", "wrong number of fields for its kind");
    if (f->code)
        return;
    if (alg == ALG_INLINE) {
        c->type = CONTENT_INLINE;
        c->inline_bytes = field_bin(f, "content bytes", 0, LIMIT_SYMLINK);
        if (!f->code)
            c->root = id_hash(c->inline_bytes.p, c->inline_bytes.len);
        return;
    }
    c->type = CONTENT_BLOCKS;
    c->class = (uint8_t)field_u64(f, "content class", 0, CLASS_MAX);
    c->nblocks = (uint32_t)field_u64(f, "content nblocks", 1, LIMIT_BLOCKS);
    field_id(f, "content root", &c->root);
}

/* What a kind must have and must not have. */
static void file_rules(struct field *f, const struct entry *e)
{
    const struct content *c = &e->content;
    field_rule(f, c->type != CONTENT_NONE, "content", "a file without content");
    if (c->type == CONTENT_INLINE) {
        field_rule(f, c->inline_bytes.len == e->size, "content bytes", "not as many as size says");
        field_rule(f, c->inline_bytes.len <= LIMIT_INLINE, "content bytes", "more than a file may carry inline");
    }
    if (c->type == CONTENT_BLOCKS)
        field_rule(f, c->nblocks <= e->size && e->size <= (uint64_t)c->nblocks * LIMIT_BLOCK, "content nblocks",
                   "cannot be for this size");
}

static void symlink_rules(struct field *f, const struct entry *e)
{
    const struct content *c = &e->content;
    field_rule(f, c->type == CONTENT_INLINE, "content", "a symlink without an inline target");
    field_rule(f, c->inline_bytes.len == e->size, "content bytes", "not as many as size says");
    field_rule(f, e->size > 0, "content bytes", "a symlink with an empty target");
    if (!f->code)
        field_rule(f, !memchr(c->inline_bytes.p, 0, c->inline_bytes.len), "content bytes", "a NUL in a symlink's target");
}

static void note_rules(struct field *f, const struct entry *e)
{
    const struct content *c = &e->content;
    struct note n;
    field_rule(f, c->type == CONTENT_INLINE, "content", "a note without inline content");
    field_rule(f, c->inline_bytes.len == e->size, "content bytes", "not as many as size says");
    field_rule(f, e->mode == 0, "mode", "a note with a mode");
    field_rule(f, e->mtime_ns == 0, "mtime_ns", "a note with a time besides its hlc");
    field_rule(f, e->v.ctx.n == 0, "ctx", "a note that supersedes");
    field_rule(f, e->v.except.n == 0, "except", "a note with exceptions");
    field_rule(f, e->flags == 0, "flags", "a note with flags");
    if (!f->code)
        field_nested(f, "content", note_decode(c->inline_bytes.p, c->inline_bytes.len, &n));
}

static void entry_rules(struct field *f, const struct entry *e)
{
    if (f->code)
        return;
    switch (e->kind) {
    case KIND_FILE:
        file_rules(f, e);
        break;
    case KIND_SYMLINK:
        symlink_rules(f, e);
        break;
    case KIND_DIR:
    case KIND_TOMBSTONE:
        field_rule(f, e->content.type == CONTENT_NONE, "content", "a directory or tombstone with content");
        field_rule(f, e->size == 0, "size", "a directory or tombstone with a size");
        field_rule(f, e->kind == KIND_DIR || e->mode == 0, "mode", "a tombstone with a mode");
        break;
    case KIND_SNAPSHOT:
        field_rule(f, e->content.type == CONTENT_NONE, "content", "a snapshot with content");
        field_rule(f, e->size == 0, "size", "a snapshot with a size");
        field_rule(f, e->mode == 0, "mode", "a snapshot with a mode");
        field_rule(f, e->v.except.n == 0, "except", "a snapshot with exceptions");
        field_rule(f, e->flags == 0, "flags", "a snapshot with flags");
        break;
    case KIND_NOTE:
        note_rules(f, e);
        break;
    }
}

/* Notes, and snapshots with their tombstones, have places of their own; everything else is anywhere but there. */
static int entry_path_check(const struct entry *e)
{
    const struct bytes *p = &e->path;
    if (e->kind == KIND_NOTE)
        return path_check_note(p->p, p->len);
    bool own = e->kind == KIND_SNAPSHOT || (e->kind == KIND_TOMBSTONE && path_is_snapshot(p->p, p->len));
    return own ? path_check_snapshot(p->p, p->len) : path_check(p->p, p->len);
}

/* An entry that holds nothing but the memory of its lists. */
static void entry_reset(struct entry *e)
{
    struct dots ctx = e->v.ctx, except = e->v.except;
    memset(e, 0, sizeof *e);
    e->v.ctx = ctx;
    e->v.except = except;
    dots_clear(&e->v.ctx);
    dots_clear(&e->v.except);
}

static int64_t mtime_read(struct field *f)
{
    int64_t v = f->code ? 0 : mp_i64(&f->m);
    field_check(f, "mtime_ns", "not a signed 64-bit number");
    return f->code ? 0 : v;
}

int entry_decode(const void *data, size_t len, struct entry *out)
{
    struct field f;
    entry_reset(out);
    field_open(&f, "entry", data, len, LIMIT_ENTRY, 11);
    out->kind = (enum kind)field_u64(&f, "kind", KIND_FILE, KIND_NOTE);
    out->path = field_bin(&f, "path", 1, LIMIT_PATH);
    if (!f.code)
        field_nested(&f, "path", entry_path_check(out));
    ctx_read(&f.m, &out->v.ctx);
    field_check(&f, "ctx", "not a list of [stream, number], sorted, a stream once");
    dots_read(&f.m, &out->v.except);
    field_check(&f, "except", "not a list of [stream, number], sorted, a dot once");
    out->v.hlc = field_u64(&f, "hlc", 0, RECORD_HLC_MAX);
    out->v.tombstone = out->kind == KIND_TOMBSTONE;
    out->v.directory = out->kind == KIND_DIR;
    out->mode = (uint32_t)field_u64(&f, "mode", 0, MODE_MAX);
    out->size = field_u64(&f, "size", 0, LIMIT_FILE_SIZE);
    out->mtime_ns = mtime_read(&f);
    content_read(&f, &out->content);
    field_rule(&f, mp_nil(&f.m), "attrs", "not nil");
    out->flags = field_u64(&f, "flags", 0, FLAG_RESOLVE);
    entry_rules(&f, out);
    return field_done(&f);
}

int entry_place(struct entry *e, const struct header *h, uint32_t index)
{
    assert(index < h->count);
    e->v.dot = (struct dot){ h->sid, h->first + index };
    if (e->v.hlc > h->hlc_max)
        return err_set(ERR_BAD, "entry: hlc: beyond hlc_max of its header");
    if (ctx_covers(&e->v.ctx, &e->v.dot))
        return err_set(ERR_BAD, "entry: ctx: covers the entry itself");
    for (size_t i = 0; i < e->v.except.n; i++)
        if (sid_eq(&e->v.except.v[i].sid, &h->sid) && e->v.except.v[i].seq >= e->v.dot.seq)
            return err_set(ERR_BAD, "entry: except: names the entry itself or a later one of its stream");
    return 0;
}

static void content_put(struct buf *b, const struct content *c)
{
    switch (c->type) {
    case CONTENT_NONE:
        mp_put_nil(b);
        break;
    case CONTENT_INLINE:
        mp_put_array(b, 2);
        mp_put_u64(b, ALG_INLINE);
        mp_put_bin(b, c->inline_bytes.p, c->inline_bytes.len);
        break;
    case CONTENT_BLOCKS:
        mp_put_array(b, 4);
        mp_put_u64(b, ALG_BLOCKS);
        mp_put_u64(b, c->class);
        mp_put_u64(b, c->nblocks);
        mp_put_bin(b, c->root.b, ID_LEN);
        break;
    }
}

int entry_encode(struct buf *out, const struct entry *e)
{
    size_t before = out->len;
    mp_put_array(out, 11);
    mp_put_u64(out, e->kind);
    mp_put_bin(out, e->path.p, e->path.len);
    ctx_put(out, &e->v.ctx);
    dots_put(out, &e->v.except);
    mp_put_u64(out, e->v.hlc);
    mp_put_u64(out, e->mode);
    mp_put_u64(out, e->size);
    mp_put_i64(out, e->mtime_ns);
    content_put(out, &e->content);
    mp_put_nil(out);
    mp_put_u64(out, e->flags);
    AUTO(entry_release) struct entry again = { 0 };
    int code = buf_ok(out) ? entry_decode(out->data + before, out->len - before, &again) : err_set(ERR_FULL, "entry: no room");
    if (code < 0)
        out->len = before;
    return code;
}

void entry_release(struct entry *e)
{
    dots_release(&e->v.ctx);
    dots_release(&e->v.except);
    memset(e, 0, sizeof *e);
}

bool entry_same(const struct entry *a, const struct entry *b)
{
    bool mode = a->kind == KIND_SYMLINK || a->mode == b->mode;
    return a->kind == b->kind && a->kind != KIND_SNAPSHOT && mode && a->size == b->size && id_eq(&a->content.root, &b->content.root);
}
