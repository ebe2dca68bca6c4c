#include "store/tar.h"

#include "proto/limits.h"
#include "tests/unit/t.h"

/* The value of a record of the extended header at the beginning of the archive; NULL when there is none. */
static const char *pax(const struct buf *b, const char *key)
{
    static char value[5000];
    if (b->data[156] != 'x')
        return NULL;
    const char *p = (const char *)b->data + TAR_BLOCK, *end = p + strtoull((const char *)b->data + 124, NULL, 8);
    while (p < end) {
        char *rest;
        size_t len = strtoul(p, &rest, 10), head = (size_t)(rest + 1 - p), k = strlen(key);
        CHECK(len <= (size_t)(end - p) && p[len - 1] == '\n');
        if (strncmp(p + head, key, k) == 0 && p[head + k] == '=') {
            size_t n = len - head - k - 2;
            memcpy(value, p + head + k + 1, n);
            value[n] = '\0';
            return value;
        }
        p += len;
    }
    EQ_U(p - end, 0);
    return NULL;
}

/* The header of the item itself: the last block. */
static const uint8_t *last(const struct buf *b)
{
    CHECK(buf_ok(b) && b->len >= TAR_BLOCK && b->len % TAR_BLOCK == 0);
    const uint8_t *h = b->data + b->len - TAR_BLOCK;
    unsigned sum = 8 * ' ';
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += i >= 148 && i < 156 ? 0 : h[i];
    EQ_U(strtoul((const char *)h + 148, NULL, 8), sum);
    EQ_MEM(h + 257, "ustar\0" "00", 8);
    return h;
}

static uint64_t octal(const uint8_t *field) { return strtoull((const char *)field, NULL, 8); }

static struct tar_item file_of(const char *path, uint64_t size)
{
    return (struct tar_item){ .type = TAR_FILE, .path = path, .len = strlen(path), .mode = 0640, .size = size, .mtime_ns = 7000000000 };
}

static void test_plain(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(1 << 20);
    struct tar_item t = file_of("dir/file", 1234567);
    tar_header(&b, &t);
    const uint8_t *h = last(&b);
    EQ_U(b.len, TAR_BLOCK);
    EQ_S((const char *)h, "dir/file");
    CHECK(h[156] == '0' && octal(h + 100) == 0640 && octal(h + 124) == 1234567 && octal(h + 136) == 7);
    CHECK(octal(h + 108) == 0 && octal(h + 116) == 0);
    tar_pad(&b, 1234567);
    EQ_U(b.len, TAR_BLOCK + (512 - 1234567 % 512));
    tar_pad(&b, 1024);
    EQ_U(b.len, TAR_BLOCK + (512 - 1234567 % 512));
    buf_clear(&b);
    tar_end(&b);
    EQ_U(b.len, 1024);
}

static void test_kinds(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(1 << 20);
    struct tar_item t = file_of("d", 0);
    t.type = TAR_DIR;
    tar_header(&b, &t);
    EQ_S((const char *)last(&b), "d/");
    CHECK(last(&b)[156] == '5');
    t.type = TAR_SYMLINK;
    t.target = (struct bytes){ (const uint8_t *)"to", 2 };
    buf_clear(&b);
    tar_header(&b, &t);
    CHECK(last(&b)[156] == '2' && octal(last(&b) + 124) == 0);
    EQ_S((const char *)last(&b) + 157, "to");
}

static void test_long_names(void)
{
    char name[LIMIT_PATH + 1];
    memset(name, 'n', sizeof name);
    for (size_t len = 90; len <= LIMIT_PATH; len += len < 1100 ? 1 : 600) {     /* lengths of records change their own length */
        AUTO(buf_release) struct buf b = BUF_INIT(1 << 20);
        struct tar_item t = { .type = TAR_SYMLINK, .path = name, .len = len, .target = { (const uint8_t *)name, len } };
        tar_header(&b, &t);
        const uint8_t *h = last(&b);
        CHECK(b.len <= TAR_HEADER_MAX);
        if (len <= 100) {
            CHECK(!pax(&b, "path") && !pax(&b, "linkpath") && memcmp(h, name, len) == 0 && memcmp(h + 157, name, len) == 0);
            continue;
        }
        EQ_U(strlen(pax(&b, "path")), len);
        EQ_U(strlen(pax(&b, "linkpath")), len);
    }
}

static void test_beyond_ascii(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(1 << 20);
    struct tar_item t = file_of("verkn\xc3\xbcpft", 1);
    tar_header(&b, &t);
    EQ_S(pax(&b, "path"), "verkn\xc3\xbcpft");
    CHECK(!pax(&b, "size") && !pax(&b, "mtime") && !pax(&b, "linkpath"));
    EQ_S((const char *)last(&b), "verkn\xc3\xbcpft");
}

static void test_sizes(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(1 << 20);
    struct tar_item t = file_of("f", (1ull << 33) - 1);
    tar_header(&b, &t);
    CHECK(!pax(&b, "size") && octal(last(&b) + 124) == (1ull << 33) - 1);
    buf_clear(&b);
    t.size = 1ull << 33;
    tar_header(&b, &t);
    EQ_S(pax(&b, "size"), "8589934592");
    EQ_U(octal(last(&b) + 124), 0);
}

static void test_times(void)
{
    static const struct { int64_t ns; const char *pax; uint64_t field; } of[] = {
        { 0, NULL, 0 }, { 1, "0.000000001", 0 }, { 1500000000, "1.500000000", 1 }, { -1, "-0.000000001", 0 }, { -1500000000, "-1.500000000", 0 },
        { -2000000000, "-2.000000000", 0 }, { INT64_MAX, "9223372036.854775807", 0 }, { INT64_MIN, "-9223372036.854775808", 0 },
    };
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        AUTO(buf_release) struct buf b = BUF_INIT(1 << 20);
        struct tar_item t = file_of("f", 0);
        t.mtime_ns = of[i].ns;
        tar_header(&b, &t);
        const char *text = pax(&b, "mtime");
        CHECK(!text == !of[i].pax);
        if (text)
            EQ_S(text, of[i].pax);
        EQ_U(octal(last(&b) + 136), of[i].field);
    }
}

int main(void)
{
    RUN(test_plain);
    RUN(test_kinds);
    RUN(test_long_names);
    RUN(test_beyond_ascii);
    RUN(test_sizes);
    RUN(test_times);
    return t_done();
}
