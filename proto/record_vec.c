#include "proto/record.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/field.h"
#include "proto/record_sign.h"

#define VEC_CONTEXT "lanyard-vec-1"
#define STREAM_MIN  31u   /* bytes of the shortest [sid, known, content, tip8] */
#define STATE_MAX   255u

static void stream_read(struct field *f, struct vec_stream *s)
{
    field_tuple(f, "stream", 4);
    field_fixed(f, "stream sid", s->sid.b, SID_LEN);
    s->known = field_u64(f, "stream known", 1, LIMIT_SEQ);
    s->content = field_u64(f, "stream content", 0, LIMIT_SEQ);
    field_rule(f, s->content <= s->known, "stream content", "greater than known");
    field_fixed(f, "stream tip8", s->tip8, sizeof s->tip8);
}

static void streams_read(struct field *f, struct vec *v)
{
    uint32_t n = field_list(f, "streams", 0, LIMIT_STREAMS);
    /* before memory is taken: a count that its bytes could not hold */
    field_rule(f, n <= (size_t)(f->m.end - f->m.p) / STREAM_MIN, "streams", "more than there are bytes for");
    if (f->code || n == 0)
        return;
    v->stream = xcalloc(n, sizeof *v->stream);
    v->nstream = n;
    for (uint32_t i = 0; i < n && !f->code; i++) {
        stream_read(f, &v->stream[i]);
        field_rule(f, i == 0 || sid_cmp(&v->stream[i - 1].sid, &v->stream[i].sid) < 0, "streams", "not sorted, or one twice");
    }
}

static void req_read(struct field *f, struct vec_req *r)
{
    field_tuple(f, "req", 3);
    field_fixed(f, "req id", r->id, sizeof r->id);
    r->state = (uint32_t)field_u64(f, "req state", 0, STATE_MAX);
    r->since_ms = field_u64(f, "req since_ms", 0, RECORD_MS_MAX);
}

static void reqs_read(struct field *f, struct vec *v)
{
    const uint8_t *start = f->m.p;
    v->nreqs = field_list(f, "reqs", 0, VEC_REQS);
    struct vec_req before = { 0 }, r;
    for (uint32_t i = 0; i < v->nreqs && !f->code; i++) {
        req_read(f, &r);
        field_rule(f, i == 0 || memcmp(before.id, r.id, sizeof r.id) < 0, "reqs", "not sorted, or one twice");
        before = r;
    }
    v->reqs = (struct bytes){ start, (size_t)(f->m.p - start) };
}

/* On failure nothing is left allocated. */
static int vec_read(const void *rec, size_t len, struct vec *v)
{
    struct field f;
    *v = (struct vec){ 0 };
    field_open(&f, "vector", rec, len, LIMIT_BODY, 13);
    field_format(&f, 1);
    field_id(&f, "group_id", &v->group);
    field_id(&f, "dev", &v->dev);
    field_fixed(&f, "inst", v->inst, sizeof v->inst);
    v->ctr = field_u64(&f, "ctr", 0, LIMIT_SEQ);
    v->wall_ms = field_u64(&f, "wall_ms", 0, RECORD_MS_MAX);
    v->ctl_n = field_u64(&f, "ctl_n", 0, LIMIT_SEQ);
    field_id(&f, "ctl_hash", &v->ctl_hash);
    v->port = (uint16_t)field_u64(&f, "port", 0, UINT16_MAX);
    streams_read(&f, v);
    field_id_or_none(&f, "fp", &v->fp);
    reqs_read(&f, v);
    v->flags = field_u64(&f, "flags", 0, LIMIT_SEQ);
    int code = field_done(&f);
    if (code < 0)
        vec_release(v);
    return code;
}

static void vec_put(struct buf *b, const struct vec *v)
{
    mp_put_array(b, 13);
    mp_put_u64(b, 1);
    mp_put_bin(b, v->group.b, ID_LEN);
    mp_put_bin(b, v->dev.b, ID_LEN);
    mp_put_bin(b, v->inst, sizeof v->inst);
    mp_put_u64(b, v->ctr);
    mp_put_u64(b, v->wall_ms);
    mp_put_u64(b, v->ctl_n);
    mp_put_bin(b, v->ctl_hash.b, ID_LEN);
    mp_put_u64(b, v->port);
    mp_put_array(b, v->nstream);
    for (size_t i = 0; i < v->nstream; i++) {
        const struct vec_stream *s = &v->stream[i];
        mp_put_array(b, 4);
        mp_put_bin(b, s->sid.b, SID_LEN);
        mp_put_u64(b, s->known);
        mp_put_u64(b, s->content);
        mp_put_bin(b, s->tip8, sizeof s->tip8);
    }
    mp_put_bin(b, v->fp.b, ID_LEN);
    if (v->reqs.len > 0)
        buf_add(b, v->reqs.p, v->reqs.len);
    else
        mp_put_array(b, 0);
    mp_put_u64(b, v->flags);
}

int vec_encode(struct buf *out, const struct vec *v, const struct device_keys *k)
{
    assert(id_eq(&v->dev, &k->dev));
    AUTO(buf_release) struct buf rec = BUF_INIT(LIMIT_BODY);
    vec_put(&rec, v);
    AUTO(vec_release) struct vec again = { 0 };
    int code = vec_read(rec.data, rec.len, &again);
    return record_sign(out, "vector", VEC_CONTEXT, &rec, code, k);
}

int vec_decode(const void *blob, size_t len, struct vec *out)
{
    struct bytes rec;
    const uint8_t *sig;
    *out = (struct vec){ 0 };
    int code = record_split("vector", blob, len, &rec, &sig);
    if (code == 0)
        code = vec_read(rec.p, rec.len, out);
    if (code == 0)
        code = record_verify("vector", VEC_CONTEXT, &rec, sig, &out->dev);
    if (code < 0)
        vec_release(out);
    return code;
}

struct id vec_meaning(const void *blob, size_t len)
{
    struct bytes rec;
    const uint8_t *sig;
    int r = record_split("vector", blob, len, &rec, &sig);
    assert(r == 0);
    struct mp m = mp_reader(rec.p, rec.len);
    (void)mp_array(&m, UINT32_MAX);
    for (int i = 0; i < 6; i++)          /* format, group, dev, inst, ctr, wall_ms */
        mp_skip(&m);
    return id_hash(m.p, (size_t)(m.end - m.p));
}

void vec_release(struct vec *v)
{
    free(v->stream);
    *v = (struct vec){ 0 };
}

struct mp vec_reqs(const struct vec *v)
{
    struct mp m = mp_reader(v->reqs.p, v->reqs.len);
    if (v->reqs.len > 0)
        (void)mp_array(&m, VEC_REQS);
    return m;
}

void vec_req_next(struct mp *m, struct vec_req *r)
{
    struct field f = { .m = *m, .rec = "vector" };
    req_read(&f, r);
    *m = f.m;
}

void vec_req_put(struct buf *b, const struct vec_req *r)
{
    mp_put_array(b, 3);
    mp_put_bin(b, r->id, sizeof r->id);
    mp_put_u64(b, r->state);
    mp_put_u64(b, r->since_ms);
}

const struct vec_stream *vec_find(const struct vec *v, const struct sid *sid)
{
    size_t lo = 0, hi = v->nstream;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = sid_cmp(&v->stream[mid].sid, sid);
        if (c == 0)
            return &v->stream[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

uint64_t vec_content(const struct vec *v, const struct sid *sid)
{
    const struct vec_stream *s = vec_find(v, sid);
    return s ? s->content : 0;
}

bool vec_shows(const struct vec *v, const struct cut *c)
{
    const struct vec_stream *s = vec_find(v, &c->sid);
    if (c->seq == 0)
        return true;
    return s && s->content >= c->seq && (s->known > c->seq || memcmp(s->tip8, c->hdr_hash.b, sizeof s->tip8) == 0);
}
