#include "store/tar.h"

#include <stdio.h>
#include <string.h>

#include "proto/limits.h"

/* The fields of a ustar header, in order, without the last 12 bytes. Numbers are octal digits and a NUL. */
struct ustar {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[6], version[2], user[32], group[32],
         major[8], minor[8], prefix[155], rest[12];
};
_Static_assert(sizeof(struct ustar) == TAR_BLOCK, "a header is one block");

#define SIZE_MAX_USTAR 077777777777ull     /* 11 octal digits */
#define SECOND 1000000000

static void put_octal(char *field, size_t size, uint64_t v)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%0*llo", (int)size - 1, (unsigned long long)v);
    memcpy(field, digits, size - 1);
}

static void seal(struct ustar *h)
{
    unsigned sum = 0;
    memset(h->sum, ' ', sizeof h->sum);
    for (size_t i = 0; i < sizeof *h; i++)
        sum += ((const uint8_t *)h)[i];
    put_octal(h->sum, sizeof h->sum - 1, sum);
    h->sum[sizeof h->sum - 2] = '\0';
}

static void put_block(struct buf *out, char type, const char *name, size_t len, const struct tar_item *t)
{
    struct ustar h = { .type = type, .magic = "ustar", .version = { '0', '0' } };
    bool plain = t->mtime_ns >= 0 && (uint64_t)t->mtime_ns / SECOND <= SIZE_MAX_USTAR;
    memcpy(h.name, name, len < sizeof h.name ? len : sizeof h.name);
    put_octal(h.mode, sizeof h.mode, t->mode);
    put_octal(h.uid, sizeof h.uid, 0);
    put_octal(h.gid, sizeof h.gid, 0);
    put_octal(h.size, sizeof h.size, t->size <= SIZE_MAX_USTAR ? t->size : 0);
    put_octal(h.mtime, sizeof h.mtime, plain ? (uint64_t)t->mtime_ns / SECOND : 0);
    if (t->target.len)
        memcpy(h.link, t->target.p, t->target.len < sizeof h.link ? t->target.len : sizeof h.link);
    seal(&h);
    buf_add(out, &h, sizeof h);
}

/* "LENGTH KEY=VALUE\n", where LENGTH counts its own digits. */
static void put_record(struct buf *out, const char *key, const void *value, size_t len)
{
    size_t rest = strlen(key) + len + 3, total = rest + 1;
    char digits[24];
    while ((size_t)snprintf(digits, sizeof digits, "%zu", total) + rest != total)
        total++;
    buf_addf(out, "%s %s=", digits, key);
    buf_add(out, value, len);
    buf_add(out, "\n", 1);
}

static bool fits(const void *text, size_t len)
{
    const uint8_t *p = text;
    for (size_t i = 0; i < len; i++)
        if (p[i] >= 0x80)
            return false;
    return len <= sizeof((struct ustar *)0)->name;
}

static void put_time(struct buf *out, int64_t ns)
{
    char text[40];
    uint64_t abs = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    int n = snprintf(text, sizeof text, "%s%llu.%09llu", ns < 0 ? "-" : "", (unsigned long long)(abs / SECOND), (unsigned long long)(abs % SECOND));
    put_record(out, "mtime", text, (size_t)n);
}

static void put_size(struct buf *out, uint64_t size)
{
    char text[24];
    put_record(out, "size", text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)size));
}

void tar_header(struct buf *out, const struct tar_item *t)
{
    AUTO(buf_release) struct buf more = BUF_INIT(TAR_HEADER_MAX);
    char name[LIMIT_PATH + 2];
    size_t len = t->len < LIMIT_PATH ? t->len : LIMIT_PATH;
    memcpy(name, t->path, len);
    if (t->type == TAR_DIR)
        name[len++] = '/';
    if (!fits(name, len))
        put_record(&more, "path", name, len);
    if (!fits(t->target.p, t->target.len))
        put_record(&more, "linkpath", t->target.p, t->target.len);
    if (t->size > SIZE_MAX_USTAR)
        put_size(&more, t->size);
    if (t->mtime_ns < 0 || t->mtime_ns % SECOND || (uint64_t)t->mtime_ns / SECOND > SIZE_MAX_USTAR)
        put_time(&more, t->mtime_ns);
    if (more.len) {
        put_block(out, 'x', "././@PaxHeader", 14, &(struct tar_item){ .mode = 0644, .size = more.len });
        buf_add(out, more.data, more.len);
        tar_pad(out, more.len);
    }
    put_block(out, (char)t->type, name, len, t);
}

void tar_pad(struct buf *out, uint64_t size)
{
    static const uint8_t zero[TAR_BLOCK];
    buf_add(out, zero, (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK);
}

void tar_end(struct buf *out)
{
    static const uint8_t zero[2 * TAR_BLOCK];
    buf_add(out, zero, sizeof zero);
}
