/* out: what the command line prints, all of it from the one value that the node's reply carries (proto/ctl.h).
 *
 * For programs: JSON, compact, on one line. A byte that is not part of valid UTF-8 (in a path) is written as the lone low surrogate
 * \udcXX, as Python's "surrogateescape" does, so that nothing is lost. Control characters are always escaped.
 * For people: columns or rows described by small tables. Whatever a terminal might obey is shown as \xNN. */
#ifndef CLI_OUT_H
#define CLI_OUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/buf.h"
#include "proto/mp.h"

struct out { FILE *f; bool colour; int64_t now_ms; };

/* On f, at the time now; colour only on a terminal that has it, and never with NO_COLOR (no-color.org: set and not empty). */
struct out out_to(FILE *f);

/* One value and a newline. The value has passed mp_check. */
void out_json(FILE *f, struct bytes value);

/* An array of maps as CSV (RFC 4180, but with this system's ends of lines), a line of keys first. Values are as in JSON; what is absent or nil is empty. keys ends with NULL.
 * A text that a spreadsheet would take for a formula has an apostrophe before it. */
void out_csv(FILE *f, struct bytes rows, const char *const *keys);

enum out_format {
    OUT_TEXT,     /* str or bin as it is; of an array of them all, with commas */
    OUT_BYTES,    /* "1.2 GiB", to the right */
    OUT_COUNT,    /* "1,234", to the right */
    OUT_TIME,     /* RFC 3339 as "3 min ago" */
    OUT_FLAG,     /* bool: one of two words */
};
struct out_column {
    const char *key;          /* "missing.bytes" is key "bytes" of the map at key "missing"; NULL ends a table */
    const char *title;
    enum out_format format;
    const char *yes, *no;     /* the words of OUT_FLAG */
};

/* An array of maps as aligned columns under their titles; nothing at all when it is empty. What is absent or nil becomes "-". */
void out_table(const struct out *o, struct bytes rows, const struct out_column *columns);
/* The same columns of one map, a line each: title, value. */
void out_rows(const struct out *o, struct bytes map, const struct out_column *columns);
/* One such cell, as a table would show it. */
void out_cell(const struct out *o, struct buf *to, struct bytes map, const struct out_column *column);

enum out_style { OUT_PLAIN, OUT_BOLD, OUT_DIM, OUT_GREEN, OUT_YELLOW, OUT_RED };
/* The sequences that begin and end a style; "" without colour. */
const char *out_begin(const struct out *o, enum out_style s);
const char *out_end(const struct out *o, enum out_style s);

/* Appends the bytes with \xNN for whatever is not safe on a terminal, and for backslashes too when `path`. */
void out_safe(struct buf *to, struct bytes text, bool path);
void out_size(struct buf *to, uint64_t bytes);     /* "512 B", "1.2 GiB" */
void out_count(struct buf *to, uint64_t n);        /* "1,234,567" */
/* Columns of a terminal that the text takes; wide characters count twice if the locale knows them (LC_CTYPE). */
size_t out_width(const void *text, size_t len);

/* The raw object at "a.b.c" in a map; false when it is absent or nil. */
bool out_find(struct bytes map, const char *key, struct bytes *value);

#endif
