/* t_vectors: reads files of test vectors, lines `name: value` where a value is hex, decimal or "text"; see tests/vectors/make.py.
 * Everything that is read stays until unload. A missing name fails the test. */
#ifndef TESTS_UNIT_T_VECTORS_H
#define TESTS_UNIT_T_VECTORS_H

#include <stdio.h>

#include "proto/buf.h"
#include "proto/mp.h"
#include "tests/unit/t.h"

struct vector { char *name, *value; };
static struct vector *table;
static size_t ntable;

static void load(const char *path)
{
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    CHECK(f != NULL);
    while ((len = getline(&line, &cap, f)) > 0) {
        char *colon = strstr(line, ": ");
        if (line[0] == '#' || !colon)
            continue;
        line[len - 1] = *colon = 0;
        table = xrealloc(table, ntable + 1, sizeof *table);
        table[ntable++] = (struct vector){ xstrdup(line), xstrdup(colon + 2) };
    }
    free(line);
    fclose(f);
}
static void unload(void)
{
    for (size_t i = 0; i < ntable; i++)
        free(table[i].name), free(table[i].value);
    free(table);
}

PRINTF(1, 0) static const char *value_of(const char *fmt, va_list ap)
{
    char name[80];
    vsnprintf(name, sizeof name, fmt, ap);
    for (size_t i = 0; i < ntable; i++)
        if (strcmp(table[i].name, name) == 0)
            return table[i].value;
    T_FAIL("there is no vector %s", name);
}
/* Bytes; they stay for the life of the program. */
PRINTF(1, 2) static struct bytes hex(const char *fmt, ...)
{
    static struct buf all[1000];
    static size_t used;
    va_list ap;
    va_start(ap, fmt);
    const char *value = value_of(fmt, ap);
    va_end(ap);
    CHECK(used < sizeof all / sizeof *all);
    struct buf *b = &all[used++];
    size_t len = strlen(value) / 2;
    *b = (struct buf)BUF_INIT(1u << 20);
    uint8_t *room = buf_room(b, len);
    OK(hex_decode(room, len, value));
    return (struct bytes){ room, len };
}
PRINTF(1, 2) static uint64_t num(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const char *value = value_of(fmt, ap);
    va_end(ap);
    return value[0] == '-' ? (uint64_t)strtoll(value, NULL, 10) : strtoull(value, NULL, 10);
}
/* A text without its quotes. */
PRINTF(2, 3) static void text(char out[static 80], const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const char *value = value_of(fmt, ap);
    va_end(ap);
    size_t len = strlen(value);
    CHECK(len >= 2 && len < 80 && value[0] == '"' && value[len - 1] == '"');
    memcpy(out, value + 1, len - 2);
    out[len - 2] = 0;
}
static struct id id_of(struct bytes b)
{
    struct id a;
    CHECK(b.len == ID_LEN);
    memcpy(a.b, b.p, ID_LEN);
    return a;
}
static struct sid sid_of(struct bytes b)
{
    struct sid a;
    CHECK(b.len == SID_LEN);
    memcpy(a.b, b.p, SID_LEN);
    return a;
}
#define SAME(data, len_, vector) do { \
    struct bytes t_want = (vector); \
    EQ_U(len_, t_want.len); \
    EQ_MEM(data, t_want.p, t_want.len); \
} while (0)

#endif
