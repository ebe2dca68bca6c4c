#include "proto/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST 64

/* Makes room for len more bytes, doubling so that n appends cost O(n). */
static bool reserve(struct buf *b, size_t len)
{
    if (b->failed || len > b->max - b->len) {
        b->failed = true;
        return false;
    }
    size_t need = b->len + len;
    if (need <= b->cap && b->data)
        return true;
    size_t cap = b->cap > b->max / 2 ? b->max : b->cap * 2;
    if (cap < need)
        cap = need;
    if (cap < SMALLEST)
        cap = SMALLEST; /* may pass max; len never does */
    uint8_t *data = realloc(b->data, cap);
    if (!data) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->cap = cap;
    return true;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
    uint8_t *room = buf_room(b, len);
    if (room && len)
        memcpy(room, data, len);
}

void buf_add_str(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    char *s = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&s, fmt, ap);
    va_end(ap);
    if (n < 0) {
        b->failed = true;
        return;
    }
    buf_add(b, s, (size_t)n);
    free(s);
}

uint8_t *buf_room(struct buf *b, size_t len)
{
    if (!reserve(b, len))
        return NULL;
    uint8_t *room = b->data + b->len;
    b->len += len;
    return room;
}

bool buf_ok(const struct buf *b)
{
    return !b->failed;
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
}

void buf_release(struct buf *b)
{
    free(b->data);
    *b = (struct buf)BUF_INIT(b->max);
}

uint8_t *buf_steal(struct buf *b, size_t *len)
{
    if (!reserve(b, 0)) { /* so that stolen bytes are never NULL unless the buffer failed */
        buf_release(b);
        *len = 0;
        return NULL;
    }
    uint8_t *data = b->data;
    *len = b->len;
    *b = (struct buf)BUF_INIT(b->max);
    return data;
}
