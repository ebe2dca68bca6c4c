#include <string.h>

#include "cli/out.h"
#include "proto/path.h"

/* One byte or code point below U+00A0 that JSON, or a terminal, wants escaped. */
static void put_escape(FILE *f, uint32_t rune)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *short_form = rune && rune < 0x80 ? strchr(from, (int)rune) : NULL;
    if (short_form)
        fprintf(f, "\\%c", to[short_form - from]);
    else
        fprintf(f, "\\u%04x", rune);
}

static void put_string(FILE *f, struct bytes s)
{
    const uint8_t *p = s.p, *end = p + s.len;
    fputc('"', f);
    while (p < end) {
        uint32_t rune = 0;
        size_t len = utf8_decode(p, (size_t)(end - p), &rune);
        if (len == 0)
            fprintf(f, "\\udc%02x", *p); /* always 0x80 or more: anything less is valid */
        else if (utf8_is_control(rune) || rune == '"' || rune == '\\')
            put_escape(f, rune);
        else
            fwrite(p, 1, len, f);
        p += len ? len : 1;
    }
    fputc('"', f);
}

/* Recursion is bounded by mp_check's LIMIT_DEPTH. */
static void put_value(FILE *f, struct mp *m);

/* Only text is a key in JSON: anything else (of a policy that a later version knows) is shown as the bytes that it is. */
static void put_key(FILE *f, struct mp *m)
{
    put_string(f, mp_peek(m) == MP_STR ? mp_str(m, SIZE_MAX) : mp_skip(m));
    fputs(": ", f);
}

static void put_list(FILE *f, struct mp *m, bool map)
{
    uint32_t n = map ? mp_map(m, UINT32_MAX) : mp_array(m, UINT32_MAX);
    fputc(map ? '{' : '[', f);
    for (uint32_t i = 0; i < n && !m->failed; i++) {
        if (i > 0)
            fputs(", ", f);
        if (map)
            put_key(f, m);
        put_value(f, m);
    }
    fputc(map ? '}' : ']', f);
}

static void put_value(FILE *f, struct mp *m)
{
    int type = mp_peek(m);
    if (type == MP_MAP || type == MP_ARRAY)
        put_list(f, m, type == MP_MAP);
    else if (type == MP_STR || type == MP_BIN)
        put_string(f, type == MP_STR ? mp_str(m, SIZE_MAX) : mp_bin(m, SIZE_MAX));
    else if (type == MP_UINT)
        fprintf(f, "%llu", (unsigned long long)mp_u64(m, UINT64_MAX));
    else if (type == MP_INT)
        fprintf(f, "%lld", (long long)mp_i64(m));
    else if (type == MP_BOOL)
        fputs(mp_bool(m) ? "true" : "false", f);
    else
        fputs(mp_nil(m) ? "null" : "", f);
}

void out_json(FILE *f, struct bytes value)
{
    struct mp m = mp_reader(value.p, value.len);
    put_value(f, &m);
    fputc('\n', f);
}
