#include "proto/note.h"

#include <assert.h>
#include <string.h>

#include "proto/field.h"

enum { KEYS_MAX = 32, KEY_BYTES = 32 };

/* ---- writing ---- */

/* The longest beginning of at most max bytes that does not cut a character. */
static struct bytes clip(struct bytes b, size_t max)
{
    if (b.len <= max)
        return b;
    while (max > 0 && (b.p[max] & 0xc0) == 0x80)
        max--;
    return (struct bytes){ b.p, max };
}

static void put_text(struct buf *b, const char *key, struct bytes v, size_t max)
{
    if (!v.len)
        return;
    v = clip(v, max);
    mp_put_str(b, key);
    mp_put_strn(b, (const char *)v.p, v.len);
}

static void put_number(struct buf *b, const char *key, uint64_t v)
{
    if (!v)
        return;
    mp_put_str(b, key);
    mp_put_u64(b, v);
}

void note_encode(struct buf *out, const struct note *n)
{
    assert(n->what.len > 0 && n->what.len <= NOTE_WHAT);
    mp_put_map(out, 1u + (n->path.len > 0) + (n->name.len > 0) + (n->text.len > 0) + (n->files > 0) + (n->deleted > 0));
    put_number(out, "deleted", n->deleted);
    put_number(out, "files", n->files);
    put_text(out, "name", n->name, NOTE_NAME);
    if (n->path.len) {
        mp_put_str(out, "path");
        mp_put_bin(out, n->path.p, n->path.len < NOTE_PATH ? n->path.len : NOTE_PATH);
    }
    put_text(out, "text", n->text, NOTE_WORDS);
    put_text(out, "what", n->what, NOTE_WHAT);
}

/* ---- reading ---- */

static bool is(struct bytes key, const char *name)
{
    return key.len == strlen(name) && memcmp(key.p, name, key.len) == 0;
}

static void read_value(struct field *f, struct bytes key, struct note *n)
{
    if (is(key, "what"))
        n->what = field_text(f, "what", 1, NOTE_WHAT);
    else if (is(key, "path"))
        n->path = field_bin(f, "path", 1, NOTE_PATH);
    else if (is(key, "name"))
        n->name = field_text(f, "name", 1, NOTE_NAME);
    else if (is(key, "text"))
        n->text = field_text(f, "text", 1, NOTE_WORDS);
    else if (is(key, "files"))
        n->files = field_u64(f, "files", 1, LIMIT_SEQ);
    else if (is(key, "deleted"))
        n->deleted = field_u64(f, "deleted", 1, LIMIT_SEQ);
    else
        (void)field_raw(f, "value");
}

static bool less(struct bytes a, struct bytes b)
{
    int c = memcmp(a.p, b.p, a.len < b.len ? a.len : b.len);
    return c < 0 || (c == 0 && a.len < b.len);
}

int note_decode(const void *data, size_t len, struct note *out)
{
    struct field f;
    struct bytes before = { 0 };
    *out = (struct note){ 0 };
    field_open_any(&f, "note", data, len, LIMIT_NOTE);
    uint32_t n = f.code ? 0 : mp_map(&f.m, KEYS_MAX);
    field_check(&f, "map", "not a map of at most 32");
    for (uint32_t i = 0; i < n && !f.code; i++) {
        struct bytes key = field_text(&f, "key", 1, KEY_BYTES);
        if (i > 0 && !f.code)
            field_rule(&f, less(before, key), "key", "not sorted, or twice");
        read_value(&f, key, out);
        before = key;
    }
    field_rule(&f, out->what.len > 0, "what", "missing");
    return field_done(&f);
}
