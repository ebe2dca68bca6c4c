#include "proto/mp.h"

#include <assert.h>
#include <msgpack.h>
#include <string.h>

#include "proto/limits.h"

/* One msgpack object, or the head of an array or map. */
struct token {
    int type;
    size_t size;          /* bytes of the head, and of the body of a str or bin */
    uint64_t n;           /* value, length, or count */
    const uint8_t *body;  /* of a str or bin */
};

/* What the first bytes 0xc0..0xdf mean: the type, and how many bytes of number follow. MP_END: refused. */
static const struct { uint8_t type, width; } heads[32] = {
    [0x00] = {MP_NIL, 0},                                                                 /* c1 is never used */
    [0x02] = {MP_BOOL, 0},  [0x03] = {MP_BOOL, 0},
    [0x04] = {MP_BIN, 1},   [0x05] = {MP_BIN, 2},   [0x06] = {MP_BIN, 4},                 /* c7..cb: ext, float */
    [0x0c] = {MP_UINT, 1},  [0x0d] = {MP_UINT, 2},  [0x0e] = {MP_UINT, 4},  [0x0f] = {MP_UINT, 8},
    [0x10] = {MP_INT, 1},   [0x11] = {MP_INT, 2},   [0x12] = {MP_INT, 4},   [0x13] = {MP_INT, 8}, /* d4..d8: ext */
    [0x19] = {MP_STR, 1},   [0x1a] = {MP_STR, 2},   [0x1b] = {MP_STR, 4},
    [0x1c] = {MP_ARRAY, 2}, [0x1d] = {MP_ARRAY, 4}, [0x1e] = {MP_MAP, 2},   [0x1f] = {MP_MAP, 4},
};

static uint64_t big_endian(const uint8_t *p, size_t width)
{
    uint64_t v = 0;
    for (size_t i = 0; i < width; i++)
        v = v << 8 | p[i];
    return v;
}

static uint64_t sign_extend(uint64_t v, size_t width)
{
    assert(width > 0);
    uint64_t sign = UINT64_C(1) << (8 * width - 1);
    return (v ^ sign) - sign;
}

/* Type, number and size of the head that begins with *p. NULL, or what is wrong. */
static const char *token_head(const uint8_t *p, size_t left, struct token *t)
{
    uint8_t c = *p;
    t->size = 1;
    if (c <= 0x7f || c >= 0xe0) {
        t->type = c <= 0x7f ? MP_UINT : MP_INT;
        t->n = (uint64_t)(int8_t)c;
    } else if (c <= 0xbf) {
        t->type = c <= 0x8f ? MP_MAP : c <= 0x9f ? MP_ARRAY : MP_STR;
        t->n = c <= 0x9f ? c & 15 : c & 31;
    } else {
        size_t width = heads[c - 0xc0].width;
        t->type = heads[c - 0xc0].type;
        if (t->type == MP_END)
            return "type not allowed";
        if (width > left - 1)
            return "cut off";
        t->size += width;
        t->n = t->type == MP_BOOL ? c & 1 : big_endian(p + 1, width);
        if (t->type == MP_INT)
            t->n = sign_extend(t->n, width);
        if (t->type == MP_INT && !(t->n >> 63))
            t->type = MP_UINT; /* so MP_INT means negative, however it was written */
    }
    return NULL;
}

/* The next token of at least one byte. A count that its elements could not fill is refused here. */
static const char *token_read(const uint8_t *p, const uint8_t *end, struct token *t)
{
    if (p == end)
        return "cut off";
    const char *bad = token_head(p, (size_t)(end - p), t);
    if (bad)
        return bad;
    size_t left = (size_t)(end - p) - t->size;
    t->body = p + t->size;
    if (t->type == MP_ARRAY && t->n > left)
        return "more elements than bytes";
    if (t->type == MP_MAP && t->n > left / 2)
        return "more pairs than bytes";
    if (t->type == MP_STR || t->type == MP_BIN) {
        if (t->n > left)
            return "cut off";
        t->size += t->n;
    }
    return NULL;
}

/* Moves *p behind one whole object. NULL, or what is wrong with the object at *p. */
static const char *walk(const uint8_t **p, const uint8_t *end)
{
    uint64_t open[LIMIT_DEPTH + 1] = {1}; /* objects still to come, by depth */
    size_t depth = 0;
    for (uint32_t objects = 0; objects < LIMIT_OBJECTS; objects++) {
        struct token t;
        const char *bad = token_read(*p, end, &t);
        if (bad)
            return bad;
        bool nests = t.type == MP_ARRAY || t.type == MP_MAP;
        if (nests && depth == LIMIT_DEPTH)
            return "nested too deeply";
        *p += t.size;
        open[depth]--;
        if (nests)
            open[++depth] = t.type == MP_MAP ? 2 * t.n : t.n;
        while (open[depth] == 0) {
            if (depth == 0)
                return NULL;
            depth--;
        }
    }
    return "too many objects";
}

int mp_check(const void *data, size_t len)
{
    const uint8_t *p = data, *end = len ? p + len : p;
    const char *bad = walk(&p, end);
    if (!bad && p != end)
        bad = "bytes behind the end";
    if (bad)
        return err_set(ERR_BAD, "msgpack, offset %zu: %s", len ? (size_t)(p - (const uint8_t *)data) : 0, bad);
    return 0;
}

struct mp mp_reader(const void *data, size_t len)
{
    const uint8_t *p = data;
    return (struct mp){ .p = p, .end = len ? p + len : p };
}

/* Consumes the next token if it is of the wanted type and its number is at most max; otherwise fails the reader. */
static bool take(struct mp *m, int type, uint64_t max, struct token *t)
{
    if (m->failed || token_read(m->p, m->end, t) || t->type != type || t->n > max) {
        m->failed = true;
        return false;
    }
    m->p += t->size;
    return true;
}

uint64_t mp_u64(struct mp *m, uint64_t max)
{
    struct token t;
    return take(m, MP_UINT, max, &t) ? t.n : 0;
}

int64_t mp_i64(struct mp *m)
{
    struct token t;
    bool negative = mp_peek(m) == MP_INT;
    return take(m, negative ? MP_INT : MP_UINT, negative ? UINT64_MAX : INT64_MAX, &t) ? (int64_t)t.n : 0;
}

bool mp_bool(struct mp *m)
{
    struct token t;
    return take(m, MP_BOOL, 1, &t) && t.n;
}

uint32_t mp_array(struct mp *m, uint32_t max)
{
    struct token t;
    return take(m, MP_ARRAY, max, &t) ? (uint32_t)t.n : 0;
}

void mp_array_of(struct mp *m, uint32_t n)
{
    if (mp_array(m, n) != n)
        m->failed = true;
}

uint32_t mp_map(struct mp *m, uint32_t max)
{
    struct token t;
    return take(m, MP_MAP, max, &t) ? (uint32_t)t.n : 0;
}

static struct bytes take_bytes(struct mp *m, int type, size_t max)
{
    struct token t;
    if (!take(m, type, max, &t))
        return (struct bytes){ m->end, 0 };
    return (struct bytes){ t.body, t.n };
}

struct bytes mp_bin(struct mp *m, size_t max)
{
    return take_bytes(m, MP_BIN, max);
}

struct bytes mp_str(struct mp *m, size_t max)
{
    return take_bytes(m, MP_STR, max);
}

void mp_bin_into(struct mp *m, void *out, size_t len)
{
    struct bytes b = mp_bin(m, len);
    if (b.len == len && !m->failed) {
        memcpy(out, b.p, len);
    } else {
        m->failed = true;
        memset(out, 0, len);
    }
}

bool mp_nil(struct mp *m)
{
    struct token t;
    return mp_peek(m) == MP_NIL && take(m, MP_NIL, 0, &t);
}

struct bytes mp_skip(struct mp *m)
{
    const uint8_t *p = m->p;
    if (m->failed || walk(&m->p, m->end)) {
        m->failed = true;
        return (struct bytes){ m->end, 0 };
    }
    return (struct bytes){ p, (size_t)(m->p - p) };
}

int mp_peek(const struct mp *m)
{
    struct token t;
    return m->failed || token_read(m->p, m->end, &t) ? MP_END : t.type;
}

int mp_done(const struct mp *m, const char *what)
{
    if (m->failed || m->p != m->end)
        return err_set(ERR_BAD, "%s: malformed", what);
    return 0;
}

static int write_to_buf(void *arg, const char *data, size_t len)
{
    buf_add(arg, data, len);
    return 0; /* the buffer remembers its failure */
}

static msgpack_packer packer(struct buf *b)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, b, write_to_buf);
    return pk;
}

void mp_put_u64(struct buf *b, uint64_t v)
{
    msgpack_packer pk = packer(b);
    msgpack_pack_uint64(&pk, v);
}

void mp_put_i64(struct buf *b, int64_t v)
{
    msgpack_packer pk = packer(b);
    msgpack_pack_int64(&pk, v);
}

void mp_put_bool(struct buf *b, bool v)
{
    msgpack_packer pk = packer(b);
    if (v)
        msgpack_pack_true(&pk);
    else
        msgpack_pack_false(&pk);
}

void mp_put_nil(struct buf *b)
{
    msgpack_packer pk = packer(b);
    msgpack_pack_nil(&pk);
}

void mp_put_array(struct buf *b, size_t n)
{
    assert(n <= UINT32_MAX);
    msgpack_packer pk = packer(b);
    msgpack_pack_array(&pk, n);
}

void mp_put_map(struct buf *b, size_t n)
{
    assert(n <= UINT32_MAX);
    msgpack_packer pk = packer(b);
    msgpack_pack_map(&pk, n);
}

void mp_put_bin(struct buf *b, const void *data, size_t len)
{
    assert(len <= UINT32_MAX);
    msgpack_packer pk = packer(b);
    msgpack_pack_bin(&pk, len);
    buf_add(b, data, len);
}

void mp_put_str(struct buf *b, const char *s)
{
    mp_put_strn(b, s, strlen(s));
}

void mp_put_strn(struct buf *b, const char *s, size_t len)
{
    assert(len <= UINT32_MAX);
    msgpack_packer pk = packer(b);
    msgpack_pack_str(&pk, len);
    buf_add(b, s, len);
}
