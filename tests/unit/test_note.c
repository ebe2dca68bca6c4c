/* proto/note: what is written is read again, what is too long is cut, and nothing else is taken. */
#include "proto/note.h"

#include <stdarg.h>
#include <string.h>

#include "tests/unit/t.h"

static bool is(struct bytes b, const char *s) { return b.len == strlen(s) && (b.len == 0 || memcmp(b.p, s, b.len) == 0); }

static void test_there_and_back(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_NOTE);
    struct note n, in = { .what = NOTE_STR("overrode"), .path = { (const uint8_t *)"a\xff", 2 }, .name = NOTE_STR("Küche"), .text = NOTE_STR("because"),
                          .files = 3, .deleted = 1ull << 40 };
    note_encode(&b, &in);
    OK(note_decode(b.data, b.len, &n));
    CHECK(is(n.what, "overrode") && is(n.path, "a\xff") && is(n.name, "Küche") && is(n.text, "because"));
    CHECK(n.files == 3 && n.deleted == 1ull << 40);
    buf_clear(&b);
    note_encode(&b, &(struct note){ .what = NOTE_STR("x") });
    OK(note_decode(b.data, b.len, &n));
    CHECK(is(n.what, "x") && !n.path.len && !n.name.len && !n.text.len && !n.files && !n.deleted);
}

static void test_the_longest(void)
{
    char path[5000], text[5000];
    memset(path, 'p', sizeof path);
    for (size_t i = 0; i + 1 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xbc", 2);
    memmove(text + 1, text, sizeof text - 1);
    text[0] = 't';                              /* so that the cut falls into a character */
    struct bytes words = { (const uint8_t *)text, sizeof text - 1 };
    struct note n, in = { .what = { (const uint8_t *)path, NOTE_WHAT }, .path = { (const uint8_t *)path, sizeof path }, .name = words, .text = words,
                          .files = LIMIT_SEQ, .deleted = LIMIT_SEQ };
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_NOTE);
    note_encode(&b, &in);
    CHECK(buf_ok(&b));
    OK(note_decode(b.data, b.len, &n));
    EQ_U(n.path.len, NOTE_PATH);
    EQ_U(n.name.len, NOTE_NAME - 1);
    EQ_U(n.text.len, NOTE_WORDS - 1);
}

static int map(size_t n, ...) __attribute__((sentinel));
static int map(size_t n, ...)
{
    AUTO(buf_release) struct buf b = BUF_INIT(2 * LIMIT_NOTE);
    struct note out;
    va_list list;
    va_start(list, n);
    mp_put_map(&b, n);
    for (const char *key; (key = va_arg(list, const char *)) != NULL; ) {
        mp_put_str(&b, key);
        mp_put_str(&b, va_arg(list, const char *));
    }
    va_end(list);
    return note_decode(b.data, b.len, &out);
}

static void test_refused(void)
{
    struct note n;
    char long_text[NOTE_WORDS + 2] = "";
    memset(long_text, 'x', NOTE_WORDS + 1);
    OK(map(1, "what", "x", NULL));
    OK(map(3, "later", "unknown keys", "what", "x", "yes", "z", NULL));
    FAILS(map(0, NULL), ERR_BAD, "what: missing");
    FAILS(map(1, "name", "x", NULL), ERR_BAD, "what: missing");
    FAILS(map(2, "what", "x", "name", "y", NULL), ERR_BAD, "not sorted");
    FAILS(map(2, "what", "x", "what", "y", NULL), ERR_BAD, "twice");
    FAILS(map(1, "what", "", NULL), ERR_BAD, "what");
    FAILS(map(1, "what", "a\033b", NULL), ERR_BAD, "what");
    FAILS(map(2, "text", long_text, "what", "x", NULL), ERR_BAD, "text");
    FAILS(map(2, "path", "no bytes", "what", "x", NULL), ERR_BAD, "path");
    FAILS(map(2, "files", "no number", "what", "x", NULL), ERR_BAD, "files");
    FAILS(note_decode("\x93\1\2\3", 4, &n), ERR_BAD, "map");
    FAILS(note_decode("", 0, &n), ERR_BAD, "note");
    static uint8_t much[LIMIT_NOTE + 1];
    FAILS(note_decode(much, sizeof much, &n), ERR_BAD, "note");
}

int main(void)
{
    RUN(test_there_and_back);
    RUN(test_the_longest);
    RUN(test_refused);
    return t_done();
}
