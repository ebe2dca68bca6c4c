#include <string.h>

#include "cli/out.h"

static bool is_one_of(uint8_t c, const char *set) { return c && strchr(set, c); }

/* Quotes where a comma, a quote or the end of a line is in the text, and quotes doubled. A name may be what a spreadsheet would take for a
 * formula, and members choose their names: then an apostrophe goes before it. */
static void put_field(FILE *f, struct bytes text)
{
    bool plain = true, formula = text.len && is_one_of(text.p[0], "=+-@\t\r");
    for (size_t i = 0; i < text.len; i++)
        plain &= !is_one_of(text.p[i], ",\"\r\n");
    const char *before = formula ? "'" : "";
    if (plain) {
        fputs(before, f);
        fwrite(text.p, 1, text.len, f);
        return;
    }
    fprintf(f, "\"%s", before);
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] == '"')
            fputc('"', f);
        fputc(text.p[i], f);
    }
    fputc('"', f);
}

static void put_value(FILE *f, struct bytes row, const char *key)
{
    struct bytes v, text;
    if (!out_find(row, key, &v))
        return;
    struct mp m = mp_reader(v.p, v.len);
    switch (mp_peek(&m)) {
    case MP_UINT:
        fprintf(f, "%llu", (unsigned long long)mp_u64(&m, UINT64_MAX));
        break;
    case MP_BOOL:
        fputs(mp_bool(&m) ? "true" : "false", f);
        break;
    case MP_STR:
    case MP_BIN:
        text = mp_peek(&m) == MP_STR ? mp_str(&m, SIZE_MAX) : mp_bin(&m, SIZE_MAX);
        put_field(f, text);
        break;
    default:
        fputc('?', f);                   /* a column has single values */
    }
}

void out_csv(FILE *f, struct bytes rows, const char *const *keys)
{
    struct mp m = mp_reader(rows.p, rows.len);
    for (size_t k = 0; keys[k]; k++)
        fprintf(f, "%s%s", k ? "," : "", keys[k]);
    fputc('\n', f);
    for (uint32_t n = mp_array(&m, UINT32_MAX); n > 0 && !m.failed; n--) {
        struct bytes row = mp_skip(&m);
        for (size_t k = 0; keys[k]; k++) {
            fputs(k ? "," : "", f);
            put_value(f, row, keys[k]);
        }
        fputc('\n', f);
    }
}
