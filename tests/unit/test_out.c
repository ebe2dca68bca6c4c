#include "cli/out.h"

#include <locale.h>
#include <pty.h>
#include <unistd.h>

#include "proto/limits.h"
#include "tests/unit/t.h"

/* What a function printed, as a string until the next call. */
static char *printed;
static size_t printed_len;
static struct out memory(void)
{
    free(printed);
    printed = NULL;
    return (struct out){ .f = open_memstream(&printed, &printed_len), .now_ms = 1800000000000 }; /* 2027-01-15T08:00:00Z */
}

static const char *json(const struct buf *b)
{
    struct out o = memory();
    OK(mp_check(b->data, b->len));
    out_json(o.f, (struct bytes){ b->data, b->len });
    fclose(o.f);
    return printed;
}

static const char *table(const struct buf *b, const struct out_column *columns, bool colour)
{
    struct out o = memory();
    o.colour = colour;
    OK(mp_check(b->data, b->len));
    out_table(&o, (struct bytes){ b->data, b->len }, columns);
    fclose(o.f);
    return printed;
}

static struct buf new_buf(void)
{
    return (struct buf)BUF_INIT(1u << 20);
}

static const char *json_bytes(const char *s, size_t len, bool bin)
{
    AUTO(buf_release) struct buf b = new_buf();
    if (bin)
        mp_put_bin(&b, s, len);
    else
        mp_put_strn(&b, s, len);
    return json(&b);
}
#define JSON_STR(s) json_bytes(s, sizeof s - 1, false)
#define JSON_BIN(s) json_bytes(s, sizeof s - 1, true)

static void test_json_escapes(void)
{
    EQ_S(JSON_STR(""), "\"\"\n");
    EQ_S(JSON_STR("plain"), "\"plain\"\n");
    EQ_S(JSON_STR("a\"b\\c/d"), "\"a\\\"b\\\\c/d\"\n");
    EQ_S(JSON_STR("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\"\n");
    EQ_S(JSON_STR("\0\x01\x1b\x7f"), "\"\\u0000\\u0001\\u001b\\u007f\"\n");
    EQ_S(JSON_STR("\xc2\x9b"), "\"\\u009b\"\n");
    EQ_S(JSON_STR("\xe2\x80\xae"), "\"\\u202e\"\n");
    EQ_S(JSON_STR("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"\n");
}

/* What a policy of a later version may hold. */
static void test_json_keys(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(100);
    mp_put_map(&b, 3);
    mp_put_u64(&b, 65), mp_put_u64(&b, 1);
    mp_put_array(&b, 0), mp_put_nil(&b);
    mp_put_str(&b, "k"), mp_put_bool(&b, true);
    EQ_S(json(&b), "{\"A\": 1, \"\\udc90\": null, \"k\": true}\n");
}

static void test_json_surrogates(void)
{
    EQ_S(JSON_BIN("a\xff\x80z"), "\"a\\udcff\\udc80z\"\n");
    EQ_S(JSON_BIN("\xe2\x82"), "\"\\udce2\\udc82\"\n");             /* cut off */
    EQ_S(JSON_BIN("\xe2\x82" "A"), "\"\\udce2\\udc82A\"\n");
    EQ_S(JSON_BIN("\xc0\xaf"), "\"\\udcc0\\udcaf\"\n");             /* longer than need be */
    EQ_S(JSON_BIN("\xed\xa0\x80"), "\"\\udced\\udca0\\udc80\"\n");  /* a surrogate in UTF-8 */
    EQ_S(JSON_BIN("\xf4\x90\x80\x80"), "\"\\udcf4\\udc90\\udc80\\udc80\"\n");
    EQ_S(JSON_STR("\xff"), "\"\\udcff\"\n");
}

static const char *json_u64(uint64_t v)
{
    AUTO(buf_release) struct buf b = new_buf();
    mp_put_u64(&b, v);
    return json(&b);
}

static const char *json_i64(int64_t v)
{
    AUTO(buf_release) struct buf b = new_buf();
    mp_put_i64(&b, v);
    return json(&b);
}

static void test_json_numbers(void)
{
    EQ_S(json_u64(0), "0\n");
    EQ_S(json_u64(UINT64_MAX), "18446744073709551615\n");
    EQ_S(json_i64(-1), "-1\n");
    EQ_S(json_i64(INT64_MIN), "-9223372036854775808\n");
    EQ_S(json_i64(INT64_MAX), "9223372036854775807\n");
}

static void test_json_nesting(void)
{
    AUTO(buf_release) struct buf b = new_buf();
    mp_put_map(&b, 4);
    mp_put_str(&b, "z"), mp_put_array(&b, 3), mp_put_bool(&b, true), mp_put_bool(&b, false), mp_put_nil(&b);
    mp_put_str(&b, "a\""), mp_put_map(&b, 1), mp_put_str(&b, "x"), mp_put_array(&b, 0);
    mp_put_str(&b, "m"), mp_put_map(&b, 0);
    mp_put_str(&b, "n"), mp_put_u64(&b, 1);
    EQ_S(json(&b), "{\"z\": [true, false, null], \"a\\\"\": {\"x\": []}, \"m\": {}, \"n\": 1}\n");
}

static const char *size_text(uint64_t n, void (*fn)(struct buf *, uint64_t))
{
    AUTO(buf_release) struct buf b = new_buf();
    fn(&b, n);
    buf_add(&b, "", 1);
    free(printed);
    printed = xstrdup((const char *)b.data);
    return printed;
}

static void test_sizes(void)
{
    EQ_S(size_text(0, out_size), "0 B");
    EQ_S(size_text(1023, out_size), "1023 B");
    EQ_S(size_text(1024, out_size), "1.0 KiB");
    EQ_S(size_text(1536, out_size), "1.5 KiB");
    EQ_S(size_text(1048524, out_size), "1023.9 KiB");
    EQ_S(size_text(1048575, out_size), "1.0 MiB");
    EQ_S(size_text(1288490189, out_size), "1.2 GiB");
    EQ_S(size_text(1ull << 46, out_size), "64.0 TiB");
    EQ_S(size_text(UINT64_MAX, out_size), "16.0 EiB");
}

static void test_counts(void)
{
    EQ_S(size_text(0, out_count), "0");
    EQ_S(size_text(999, out_count), "999");
    EQ_S(size_text(1000, out_count), "1,000");
    EQ_S(size_text(123456, out_count), "123,456");
    EQ_S(size_text(UINT64_MAX, out_count), "18,446,744,073,709,551,615");
}

static const struct out_column columns[] = {
    { "name", "NAME", OUT_TEXT, NULL, NULL },
    { "m.bytes", "SIZE", OUT_BYTES, NULL, NULL },
    { "on", "LINE", OUT_FLAG, "online", "offline" },
    { "t", "SEEN", OUT_TIME, NULL, NULL },
    { 0 },
};

static void put_row(struct buf *b, const char *name, uint64_t bytes, bool on, const char *time)
{
    mp_put_map(b, 4);
    mp_put_str(b, "name"), mp_put_str(b, name);
    mp_put_str(b, "m"), mp_put_map(b, 1), mp_put_str(b, "bytes"), mp_put_u64(b, bytes);
    mp_put_str(b, "on"), mp_put_bool(b, on);
    mp_put_str(b, "t");
    if (time)
        mp_put_str(b, time);
    else
        mp_put_nil(b);
}

static void test_table_alignment(void)
{
    AUTO(buf_release) struct buf b = new_buf();
    mp_put_array(&b, 3);
    put_row(&b, "desk", 5, true, "2027-01-15T07:57:00Z");
    put_row(&b, "b\xc3\xbcro \xe6\x97\xa5", 123456, false, NULL); /* 5 narrow and 1 wide: 7 columns in 10 bytes */
    mp_put_map(&b, 0);
    EQ_S(table(&b, columns, false), "NAME          SIZE  LINE     SEEN\n"
                                    "desk           5 B  online   3 min ago\n"
                                    "b\xc3\xbcro \xe6\x97\xa5  120.6 KiB  offline  -\n"
                                    "-                -  -        -\n");
}

static void test_empty_table(void)
{
    AUTO(buf_release) struct buf b = new_buf();
    mp_put_array(&b, 0);
    EQ_S(table(&b, columns, false), "");
}

static void test_colour_only_when_asked(void)
{
    AUTO(buf_release) struct buf b = new_buf();
    mp_put_array(&b, 1);
    put_row(&b, "x", 0, true, NULL);
    CHECK(strncmp(table(&b, columns, true), "\033[1mNAME", 8) == 0);
    CHECK(!strchr(table(&b, columns, false), '\033'));
}

static void test_rows(void)
{
    AUTO(buf_release) struct buf b = new_buf();
    put_row(&b, "x", 2048, false, "2027-01-15T10:00:00Z");
    struct out o = memory();
    out_rows(&o, (struct bytes){ b.data, b.len }, columns);
    fclose(o.f);
    EQ_S(printed, "NAME  x\nSIZE  2.0 KiB\nLINE  offline\nSEEN  in 2 h\n");
}

/* A name must not be able to drive the terminal it is shown on. */
static void test_hostile_text(void)
{
    AUTO(buf_release) struct buf b = new_buf();
    static const struct out_column one[] = { { "p", "P", OUT_TEXT, NULL, NULL }, { 0 } };
    mp_put_array(&b, 2);
    mp_put_map(&b, 1), mp_put_str(&b, "p"), mp_put_str(&b, "a\033[2Jb\nc\\d");
    mp_put_map(&b, 1), mp_put_str(&b, "p"), mp_put_bin(&b, "\xff\xc2\x9b\\\xe2\x80\xae", 7);
    EQ_S(table(&b, one, false), "P\na\\x1b[2Jb\\x0ac\\d\n\\xff\\xc2\\x9b\\x5c\\xe2\\x80\\xae\n");
}

static void test_lists_in_a_column(void)
{
    AUTO(buf_release) struct buf b = new_buf();
    static const struct out_column one[] = { { "l", "LIST", OUT_TEXT, NULL, NULL }, { 0 } };
    mp_put_array(&b, 3);
    mp_put_map(&b, 1), mp_put_str(&b, "l"), mp_put_array(&b, 2), mp_put_str(&b, "a\n"), mp_put_str(&b, "b");
    mp_put_map(&b, 1), mp_put_str(&b, "l"), mp_put_array(&b, 0);
    mp_put_map(&b, 1), mp_put_str(&b, "l"), mp_put_array(&b, 1), mp_put_u64(&b, 7);
    EQ_S(table(&b, one, false), "LIST\na\\x0a, b\n\n?\n");
}

static void test_csv(void)
{
    static const char *const keys[] = { "name", "m.bytes", "on", "absent", NULL };
    AUTO(buf_release) struct buf b = new_buf();
    mp_put_array(&b, 3);
    put_row(&b, "plain", 5, true, "x");
    put_row(&b, "a,b", 0, false, NULL);
    put_row(&b, "say \"so\"\nat once", 12, true, NULL);
    struct out o = memory();
    out_csv(o.f, (struct bytes){ b.data, b.len }, keys);
    fclose(o.f);
    EQ_S(printed, "name,m.bytes,on,absent\nplain,5,true,\n\"a,b\",0,false,\n\"say \"\"so\"\"\nat once\",12,true,\n");
}

/* A spreadsheet is not to run what a member has called his device. */
static void test_csv_formulas(void)
{
    static const char *const keys[] = { "name", NULL };
    AUTO(buf_release) struct buf b = new_buf();
    mp_put_array(&b, 6);
    for (const char *const *name = (const char *const[]){ "=cmd()", "+1", "-a,\"b\"", "@x", "x=1", "", NULL }; *name; name++)
        put_row(&b, *name, 0, false, NULL);
    struct out o = memory();
    out_csv(o.f, (struct bytes){ b.data, b.len }, keys);
    fclose(o.f);
    EQ_S(printed, "name\n'=cmd()\n'+1\n\"'-a,\"\"b\"\"\"\n'@x\nx=1\n\n");
}

static void test_find(void)
{
    AUTO(buf_release) struct buf b = new_buf();
    put_row(&b, "x", 7, true, NULL);
    struct bytes map = { b.data, b.len }, v = { NULL, 0 };
    CHECK(out_find(map, "m.bytes", &v) && v.len == 1 && v.p[0] == 7);
    CHECK(!out_find(map, "m.none", &v));
    CHECK(!out_find(map, "name.x", &v));
    CHECK(!out_find(map, "t", &v));
    EQ_U(v.p[0], 7);
}

static void test_no_color(void)
{
    int master, slave;
    EQ_I(openpty(&master, &slave, NULL, NULL, NULL), 0);
    FILE *f = fdopen(slave, "w"), *file = tmpfile();
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    CHECK(out_to(f).colour);
    CHECK(!out_to(file).colour);
    setenv("NO_COLOR", "", 1);
    CHECK(out_to(f).colour);
    setenv("NO_COLOR", "0", 1);
    CHECK(!out_to(f).colour);
    unsetenv("NO_COLOR");
    setenv("TERM", "dumb", 1);
    CHECK(!out_to(f).colour);
    fclose(f);
    fclose(file);
    close(master);
}

int main(void)
{
    setlocale(LC_CTYPE, "C.UTF-8");
    RUN(test_json_escapes);
    RUN(test_json_keys);
    RUN(test_json_surrogates);
    RUN(test_json_numbers);
    RUN(test_json_nesting);
    RUN(test_sizes);
    RUN(test_counts);
    RUN(test_table_alignment);
    RUN(test_empty_table);
    RUN(test_colour_only_when_asked);
    RUN(test_rows);
    RUN(test_hostile_text);
    RUN(test_lists_in_a_column);
    RUN(test_csv);
    RUN(test_csv_formulas);
    RUN(test_find);
    RUN(test_no_color);
    free(printed);
    return t_done();
}
