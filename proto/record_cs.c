#include "proto/record.h"

#include <assert.h>

#include "proto/field.h"
#include "proto/record_sign.h"

#define CS_CONTEXT "lanyard-cs-1"
#define HEADER_MAX 512u   /* more than any header */

static int header_read(const void *rec, size_t len, struct header *h)
{
    struct field f;
    *h = (struct header){ 0 };
    field_open(&f, "header", rec, len, HEADER_MAX, 12);
    field_format(&f, 1);
    field_id(&f, "group_id", &h->group);
    field_id(&f, "dev", &h->dev);
    field_fixed(&f, "inc", h->inc, sizeof h->inc);
    h->first = field_u64(&f, "first", 1, LIMIT_SEQ);
    h->count = (uint32_t)field_u64(&f, "count", 1, LIMIT_CS_COUNT);
    field_rule(&f, h->first <= LIMIT_SEQ - h->count, "count", "goes beyond the last number of a stream");
    field_id(&f, "root", &h->root);
    field_id_or_none(&f, "prev", &h->prev);
    field_rule(&f, (h->first == 1) == id_is_none(&h->prev), "prev", "is all zero in the first header of a stream, and only there");
    h->hlc_max = field_u64(&f, "hlc_max", 0, RECORD_HLC_MAX);
    h->wall_ms = field_u64(&f, "wall_ms", 0, RECORD_MS_MAX);
    h->ctl_n = field_u64(&f, "ctl_n", 0, LIMIT_SEQ);
    h->flags = field_u64(&f, "flags", 0, 0);
    return field_done(&f);
}

int header_encode(struct buf *rec, uint8_t sig[static SIG_LEN], const struct header *h, const struct device_keys *k)
{
    assert(id_eq(&h->dev, &k->dev));
    size_t before = rec->len;
    mp_put_array(rec, 12);
    mp_put_u64(rec, 1);
    mp_put_bin(rec, h->group.b, ID_LEN);
    mp_put_bin(rec, h->dev.b, ID_LEN);
    mp_put_bin(rec, h->inc, sizeof h->inc);
    mp_put_u64(rec, h->first);
    mp_put_u64(rec, h->count);
    mp_put_bin(rec, h->root.b, ID_LEN);
    mp_put_bin(rec, h->prev.b, ID_LEN);
    mp_put_u64(rec, h->hlc_max);
    mp_put_u64(rec, h->wall_ms);
    mp_put_u64(rec, h->ctl_n);
    mp_put_u64(rec, h->flags);
    struct header again;
    int code = buf_ok(rec) ? header_read(rec->data + before, rec->len - before, &again) : err_set(ERR_FULL, "header: no room");
    if (code < 0)
        rec->len = before;
    else
        keys_sign(sig, CS_CONTEXT, rec->data + before, rec->len - before, k);
    return code;
}

int header_decode(const void *rec, size_t len, const uint8_t sig[static SIG_LEN], struct header *out)
{
    int code = header_read(rec, len, out);
    if (code < 0)
        return code;
    out->sid = sid_make(&out->group, &out->dev, out->inc);
    out->hash = id_hash(rec, len);
    return record_verify("header", CS_CONTEXT, &(struct bytes){ rec, len }, sig, &out->dev);
}
