#include "proto/field.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

PRINTF(3, 4) static void fail(struct field *f, const char *name, const char *fmt, ...)
{
    if (f->code)
        return;
    char why[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    f->code = err_set(ERR_BAD, "%s: %s: %s", f->rec, name, why);
    f->m.failed = true;
}

/* Whether the next object can be read as `type`; says what is wrong if not. */
static bool expect(struct field *f, const char *name, int type, const char *type_name)
{
    if (f->code)
        return false;
    int got = f->m.failed ? MP_END : mp_peek(&f->m);
    if (got == type)
        return true;
    if (got == MP_END)
        fail(f, name, "missing");
    else
        fail(f, name, "not %s", type_name);
    return false;
}

void field_open_any(struct field *f, const char *rec, const void *data, size_t len, size_t max)
{
    *f = (struct field){ .m = mp_reader(data, len), .rec = rec };
    if (len > max) {
        fail(f, "size", "%zu bytes, at most %zu allowed", len, max);
        return;
    }
    int code = mp_check(data, len);
    if (code < 0) {
        f->code = err_prefix(code, "%s", rec);
        f->m.failed = true;
    }
}

void field_open(struct field *f, const char *rec, const void *data, size_t len, size_t max, uint32_t n)
{
    field_open_any(f, rec, data, len, max);
    field_tuple(f, "fields", n);
}

void field_format(struct field *f, uint64_t format)
{
    uint64_t got = field_u64(f, "format", 0, UINT64_MAX);
    if (got != format)
        fail(f, "format", "%" PRIu64 " is not known here, only %" PRIu64, got, format);
}

uint64_t field_u64(struct field *f, const char *name, uint64_t min, uint64_t max)
{
    if (!expect(f, name, MP_UINT, "an unsigned number"))
        return 0;
    uint64_t v = mp_u64(&f->m, UINT64_MAX);
    field_check(f, name, "malformed");
    if (v < min || v > max)
        fail(f, name, "%" PRIu64 " is outside %" PRIu64 "..%" PRIu64, v, min, max);
    return f->code ? 0 : v;
}

struct bytes field_bin(struct field *f, const char *name, size_t min, size_t max)
{
    if (!expect(f, name, MP_BIN, "a byte string"))
        return (struct bytes){ 0 };
    struct bytes v = mp_bin(&f->m, SIZE_MAX);
    field_check(f, name, "malformed");
    if (v.len < min || v.len > max)
        fail(f, name, "%zu bytes, allowed are %zu..%zu", v.len, min, max);
    return f->code ? (struct bytes){ 0 } : v;
}

void field_fixed(struct field *f, const char *name, void *out, size_t len)
{
    struct bytes v = field_bin(f, name, len, len);
    if (f->code)
        memset(out, 0, len);
    else if (len)
        memcpy(out, v.p, len);
}

void field_id_or_none(struct field *f, const char *name, struct id *out)
{
    field_fixed(f, name, out->b, ID_LEN);
}

void field_id(struct field *f, const char *name, struct id *out)
{
    field_fixed(f, name, out->b, ID_LEN);
    field_rule(f, !id_is_none(out), name, "all zero");
}

struct bytes field_text(struct field *f, const char *name, size_t min, size_t max)
{
    if (!expect(f, name, MP_STR, "a text"))
        return (struct bytes){ 0 };
    struct bytes v = mp_str(&f->m, SIZE_MAX);
    field_check(f, name, "malformed");
    if (v.len < min || v.len > max)
        fail(f, name, "%zu bytes, allowed are %zu..%zu", v.len, min, max);
    else
        field_rule(f, text_ok(v.p, v.len), name, "not UTF-8, or with control characters");
    return f->code ? (struct bytes){ 0 } : v;
}

uint32_t field_list(struct field *f, const char *name, uint32_t min, uint32_t max)
{
    if (!expect(f, name, MP_ARRAY, "an array"))
        return 0;
    uint32_t n = mp_array(&f->m, UINT32_MAX);
    field_check(f, name, "malformed");
    if (n < min || n > max)
        fail(f, name, "%" PRIu32 " elements, allowed are %" PRIu32 "..%" PRIu32, n, min, max);
    return f->code ? 0 : n;
}

void field_tuple(struct field *f, const char *name, uint32_t n)
{
    (void)field_list(f, name, n, n);
}

struct bytes field_raw(struct field *f, const char *name)
{
    if (f->code)
        return (struct bytes){ 0 };
    struct bytes v = mp_skip(&f->m);
    field_check(f, name, "missing or malformed");
    return f->code ? (struct bytes){ 0 } : v;
}

void field_rule(struct field *f, bool ok, const char *name, const char *why)
{
    if (!ok)
        fail(f, name, "%s", why);
}

void field_check(struct field *f, const char *name, const char *why)
{
    if (f->m.failed)
        fail(f, name, "%s", why);
}

void field_nested(struct field *f, const char *name, int code)
{
    if (code >= 0 || f->code)
        return;
    f->code = err_prefix(code, "%s: %s", f->rec, name);
    f->m.failed = true;
}

int field_done(struct field *f)
{
    if (!f->code && f->m.failed)
        fail(f, "fields", "malformed");
    if (!f->code && f->m.p != f->m.end)
        fail(f, "fields", "%zu bytes behind the last", (size_t)(f->m.end - f->m.p));
    return f->code;
}

/* Length of the UTF-8 sequence at s (1..4) and its code point, by table 3-7 of the Unicode standard; 0 when malformed. */
static size_t utf8_next(const uint8_t *s, size_t len, uint32_t *point)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    uint8_t c = s[0];
    size_t n = c < 0x80 ? 1 : (c & 0xe0) == 0xc0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : (c & 0xf8) == 0xf0 ? 4 : 0;
    if (n == 0 || n > len)
        return 0;
    uint32_t v = n == 1 ? c : c & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (s[i] & 0x3fu);
    }
    bool valid = v >= least[n] && v <= 0x10ffff && (v < 0xd800 || v > 0xdfff);
    *point = v;
    return valid ? n : 0;
}

static bool point_ok(uint32_t c)
{
    bool control = c < 0x20 || (c >= 0x7f && c < 0xa0);
    bool line = c == 0x2028 || c == 0x2029;
    bool reorder = c == 0x200e || c == 0x200f || c == 0x061c || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
    return !control && !line && !reorder;
}

bool text_ok(const void *s, size_t len)
{
    const uint8_t *p = s;
    while (len > 0) {
        uint32_t c;
        size_t n = utf8_next(p, len, &c);
        if (n == 0 || !point_ok(c))
            return false;
        p += n;
        len -= n;
    }
    return true;
}
