#include "cli/out.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "cli/when.h"
#include "proto/ctl.h"
#include "proto/limits.h"
#include "proto/path.h"

#define TEXT_MAX (4 * (size_t)LIMIT_CTL_REPLY) /* a reply with every byte as \xNN */

struct out out_to(FILE *f)
{
    const char *none = getenv("NO_COLOR"), *term = getenv("TERM");
    bool can = isatty(fileno(f)) && term && strcmp(term, "dumb") != 0;
    return (struct out){ .f = f, .colour = can && !(none && *none), .now_ms = when_now() };
}

static const char *const styles[] = {
    [OUT_PLAIN] = "", [OUT_BOLD] = "\033[1m", [OUT_DIM] = "\033[2m",
    [OUT_GREEN] = "\033[32m", [OUT_YELLOW] = "\033[33m", [OUT_RED] = "\033[31m",
};

const char *out_begin(const struct out *o, enum out_style s)
{
    return o->colour ? styles[s] : "";
}

const char *out_end(const struct out *o, enum out_style s)
{
    return o->colour && s != OUT_PLAIN ? "\033[0m" : "";
}

bool out_find(struct bytes map, const char *key, struct bytes *value)
{
    char part[CTL_KEY_MAX];
    size_t len;
    for (; *key; key += len + (key[len] == '.')) {
        len = strcspn(key, ".");
        if (len >= sizeof part)
            return false;
        memcpy(part, key, len);
        part[len] = '\0';
        if (!ctl_arg_raw(&map, part, &map))
            return false;
    }
    struct mp m = mp_reader(map.p, map.len);
    if (mp_nil(&m))
        return false;
    *value = map;
    return true;
}

void out_safe(struct buf *to, struct bytes text, bool path)
{
    const uint8_t *p = text.p, *end = p + text.len;
    while (p < end) {
        uint32_t rune = 0;
        size_t len = utf8_decode(p, (size_t)(end - p), &rune);
        bool fine = len > 0 && !utf8_is_control(rune) && !(path && rune == '\\');
        len = len ? len : 1;
        if (fine)
            buf_add(to, p, len);
        for (size_t i = 0; i < len && !fine; i++)
            buf_addf(to, "\\x%02x", p[i]);
        p += len;
    }
}

void out_size(struct buf *to, uint64_t bytes)
{
    static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    if (bytes < 1024) {
        buf_addf(to, "%u B", (unsigned)bytes);
        return;
    }
    size_t i = 0;
    double v = (double)bytes / 1024;
    for (; v >= 1023.95; v /= 1024) /* what "%.1f" would round to 1024.0 */
        i++;
    buf_addf(to, "%.1f %s", v, units[i]);
}

void out_count(struct buf *to, uint64_t n)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            buf_add_str(to, ",");
        buf_add(to, &digits[i], 1);
    }
}

size_t out_width(const void *text, size_t len)
{
    const uint8_t *p = text, *end = p + len;
    size_t width = 0;
    while (p < end) {
        uint32_t rune = 0;
        size_t n = utf8_decode(p, (size_t)(end - p), &rune);
        int w = n ? wcwidth((wchar_t)rune) : 1;
        width += w < 0 ? 1 : (size_t)w;
        p += n ? n : 1;
    }
    return width;
}

static void add_time(const struct out *o, struct buf *to, struct bytes text)
{
    char words[WHEN_TEXT];
    int64_t ms;
    if (when_time((const char *)text.p, text.len, &ms))
        buf_add_str(to, when_relative(ms, o->now_ms, words));
    else
        out_safe(to, text, false);
}

/* A number, as the column wants it. */
static void add_number(struct buf *to, struct mp *m, enum out_format format)
{
    if (mp_peek(m) == MP_INT) {
        buf_addf(to, "%lld", (long long)mp_i64(m));
        return;
    }
    uint64_t n = mp_u64(m, UINT64_MAX);
    if (format == OUT_BYTES)
        out_size(to, n);
    else if (format == OUT_COUNT)
        out_count(to, n);
    else
        buf_addf(to, "%llu", (unsigned long long)n);
}

/* Texts and paths, one behind the other. */
static void add_list(struct buf *to, struct mp *m)
{
    for (uint32_t i = 0, n = mp_array(m, UINT32_MAX); i < n && !m->failed; i++) {
        struct bytes one = mp_skip(m);
        struct mp text = mp_reader(one.p, one.len);
        buf_add_str(to, i ? ", " : "");
        if (mp_peek(&text) == MP_BIN)
            out_safe(to, mp_bin(&text, SIZE_MAX), true);
        else
            out_safe(to, mp_peek(&text) == MP_STR ? mp_str(&text, SIZE_MAX) : (struct bytes){(const uint8_t *)"?", 1}, false);
    }
}

void out_cell(const struct out *o, struct buf *to, struct bytes map, const struct out_column *column)
{
    struct bytes v;
    if (!out_find(map, column->key, &v)) {
        buf_add_str(to, "-");
        return;
    }
    struct mp m = mp_reader(v.p, v.len);
    switch (mp_peek(&m)) {
    case MP_UINT:
    case MP_INT:
        add_number(to, &m, column->format);
        break;
    case MP_BOOL:
        if (column->format == OUT_FLAG)
            buf_add_str(to, mp_bool(&m) ? column->yes : column->no);
        else
            buf_add_str(to, mp_bool(&m) ? "true" : "false");
        break;
    case MP_STR:
        if (column->format == OUT_TIME)
            add_time(o, to, mp_str(&m, SIZE_MAX));
        else
            out_safe(to, mp_str(&m, SIZE_MAX), false);
        break;
    case MP_BIN:
        out_safe(to, mp_bin(&m, SIZE_MAX), true);
        break;
    case MP_ARRAY:
        add_list(to, &m);
        break;
    default:
        buf_add_str(to, "?"); /* a map has no place in a column */
    }
}

/* ---- tables ---- */

struct cell { size_t at, len, width; };
struct table {
    const struct out_column *columns;
    size_t ncolumns, nrows;
    struct buf text;          /* of all cells */
    struct cell *cells;       /* nrows * ncolumns */
    size_t *widths;           /* of the columns */
};

static void table_release(struct table *t)
{
    buf_release(&t->text);
    free(t->cells);
    free(t->widths);
}

static void table_fill(const struct out *o, struct table *t, struct mp *rows)
{
    for (size_t i = 0; i < t->nrows; i++) {
        struct bytes row = mp_skip(rows);
        for (size_t k = 0; k < t->ncolumns; k++) {
            struct cell *c = &t->cells[i * t->ncolumns + k];
            c->at = t->text.len;
            out_cell(o, &t->text, row, &t->columns[k]);
            c->len = t->text.len - c->at;
            c->width = out_width(t->text.data + c->at, c->len);
            if (c->width > t->widths[k])
                t->widths[k] = c->width;
        }
    }
}

/* One cell, padded to its column's width; the last of a line is not padded on its right. */
static void print_cell(FILE *f, const struct table *t, size_t k, const void *text, size_t len, size_t width)
{
    enum out_format format = t->columns[k].format;
    bool right = format == OUT_BYTES || format == OUT_COUNT, last = k + 1 == t->ncolumns;
    int pad = (int)(t->widths[k] - width);
    fprintf(f, "%*s", right ? pad : 0, "");
    fwrite(text, 1, len, f);
    fprintf(f, "%*s", last ? 0 : (right ? 0 : pad) + 2, "");
}

static void table_print(const struct out *o, const struct table *t)
{
    fputs(out_begin(o, OUT_BOLD), o->f);
    for (size_t k = 0; k < t->ncolumns; k++)
        print_cell(o->f, t, k, t->columns[k].title, strlen(t->columns[k].title), strlen(t->columns[k].title));
    fprintf(o->f, "%s\n", out_end(o, OUT_BOLD));
    for (size_t i = 0; i < t->nrows; i++) {
        for (size_t k = 0; k < t->ncolumns; k++) {
            const struct cell *c = &t->cells[i * t->ncolumns + k];
            print_cell(o->f, t, k, t->text.data + c->at, c->len, c->width);
        }
        fputc('\n', o->f);
    }
}

void out_table(const struct out *o, struct bytes rows, const struct out_column *columns)
{
    struct mp m = mp_reader(rows.p, rows.len);
    AUTO(table_release) struct table t = { .columns = columns, .nrows = mp_array(&m, UINT32_MAX), .text = BUF_INIT(TEXT_MAX) };
    if (t.nrows == 0)
        return;
    while (columns[t.ncolumns].key)
        t.ncolumns++;
    t.cells = xcalloc(t.nrows * t.ncolumns, sizeof *t.cells);
    t.widths = xcalloc(t.ncolumns, sizeof *t.widths);
    for (size_t k = 0; k < t.ncolumns; k++)
        t.widths[k] = strlen(columns[k].title);
    table_fill(o, &t, &m);
    if (buf_ok(&t.text))
        table_print(o, &t);
}

void out_rows(const struct out *o, struct bytes map, const struct out_column *columns)
{
    size_t wide = 0;
    for (const struct out_column *c = columns; c->key; c++)
        wide = strlen(c->title) > wide ? strlen(c->title) : wide;
    AUTO(buf_release) struct buf cell = BUF_INIT(TEXT_MAX);
    for (const struct out_column *c = columns; c->key; c++) {
        buf_clear(&cell);
        out_cell(o, &cell, map, c);
        fprintf(o->f, "%s%-*s%s  ", out_begin(o, OUT_DIM), (int)wide, c->title, out_end(o, OUT_DIM));
        fwrite(cell.data, 1, cell.len, o->f);
        fputc('\n', o->f);
    }
}
