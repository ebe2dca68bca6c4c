#include "proto/receipt.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "proto/field.h"

#define MAGIC_LEN (sizeof RECEIPT_MAGIC - 1)

/* ---- one receipt ---- */

static bool shows(const struct vec *v, const struct required *q)
{
    for (size_t i = 0; i < q->nmin; i++)
        if (!vec_shows(v, &q->min[i]))
            return false;
    return true;
}

/* What the vector says of that requirement; state 0: nothing. */
static struct vec_req said(const struct vec *v, const uint8_t id[static 16])
{
    struct mp m = vec_reqs(v);
    for (uint32_t i = 0; i < v->nreqs; i++) {
        struct vec_req r;
        vec_req_next(&m, &r);
        if (memcmp(r.id, id, sizeof r.id) == 0)
            return r;
    }
    return (struct vec_req){ 0 };
}

int receipt_check(const struct group *g, const uint8_t id[static 16], const struct vec *v)
{
    const struct requirement *q = group_requirement(g, id);
    const struct member *m = group_find(g, &v->dev);
    if (!id_eq(&v->group, &g->id) || v->ctl_n != g->ctl_n || !id_eq(&v->ctl_hash, &g->ctl_hash))
        return err_set(ERR_BAD, "was signed in another group, or with another control log");
    if (!m || m->revoked)
        return err_set(ERR_BAD, "its device was no member when it signed");
    if (!q || !required_is_for(q->what, &v->dev))
        return err_set(ERR_BAD, "nothing of the kind was required of %s when it signed", m->card.name);
    if (said(v, id).state != VEC_REACHED)
        return err_set(ERR_BAD, "%s does not say that it has reached it", m->card.name);
    if (!shows(v, q->what))
        return err_set(ERR_BAD, "%s does not show what is required", m->card.name);
    return 0;
}

/* ---- reading a file ---- */

struct parts { struct bytes genesis, record, vec; uint32_t nrecord, nvec; uint8_t id[16]; };

static uint32_t list_read(struct field *f, const char *name, uint32_t max, struct bytes *list)
{
    uint32_t n = field_list(f, name, 0, max);
    const uint8_t *start = f->m.p;
    for (uint32_t i = 0; i < n && !f->code; i++)
        (void)field_raw(f, name);
    *list = (struct bytes){ start, (size_t)(f->m.p - start) };
    return n;
}

static int parts_read(const uint8_t *data, size_t len, struct parts *p)
{
    struct field f;
    if (len < MAGIC_LEN || memcmp(data, RECEIPT_MAGIC, MAGIC_LEN) != 0)
        return err_set(ERR_BAD, "this is no file of receipts: it does not begin with %s", RECEIPT_MAGIC);
    field_open(&f, "receipts", data + MAGIC_LEN, len - MAGIC_LEN, LIMIT_RECEIPTS, 5);
    field_format(&f, 1);
    p->genesis = field_raw(&f, "genesis");
    p->nrecord = list_read(&f, "control log", LIMIT_OBJECTS, &p->record);
    field_fixed(&f, "requirement", p->id, sizeof p->id);
    p->nvec = list_read(&f, "receipts", LIMIT_MEMBERS, &p->vec);
    return field_done(&f);
}

/* vec: sorted by the control record they were signed with; those before `at` have been checked with the group as it was after it. */
struct reading { struct vec *vec; size_t n, at; struct group group; const uint8_t *id; struct receipts *out; };

static void reading_release(struct reading *r)
{
    for (size_t i = 0; i < r->n; i++)
        vec_release(&r->vec[i]);
    free(r->vec);
    group_release(&r->group);
}

static int by_ctl(const void *a, const void *b)
{
    const struct vec *x = a, *y = b;
    return (x->ctl_n > y->ctl_n) - (x->ctl_n < y->ctl_n);
}

static int vectors_read(struct reading *r, const struct parts *p)
{
    struct mp m = mp_reader(p->vec.p, p->vec.len);
    struct id before = ID_NONE;
    r->vec = xcalloc(p->nvec + 1ul, sizeof *r->vec);
    for (uint32_t i = 0; i < p->nvec; i++) {
        struct bytes blob = mp_skip(&m);
        int code = vec_decode(blob.p, blob.len, &r->vec[i]);
        if (code == 0) {
            r->n = i + 1;
            code = id_cmp(&before, &r->vec[i].dev) < 0 ? 0 : err_set(ERR_BAD, "not sorted by device, or one twice");
        }
        if (code < 0)
            return err_prefix(code, "receipt %u of %u", i + 1, p->nvec);
        before = r->vec[i].dev;
    }
    qsort(r->vec, r->n, sizeof *r->vec, by_ctl);
    return 0;
}

/* Those that were signed with the group as it is now. */
static int receipts_check_now(struct reading *r)
{
    for (; r->at < r->n && r->vec[r->at].ctl_n == r->group.ctl_n; r->at++) {
        const struct vec *v = &r->vec[r->at];
        char hex[ID_HEX];
        int code = receipt_check(&r->group, r->id, v);
        if (code < 0)
            return err_prefix(code, "the receipt of device %.16s", id_hex(&v->dev, hex));
        r->out->of[r->out->n++] = (struct receipt){ .dev = v->dev, .signed_ms = v->wall_ms, .since_ms = said(v, r->id).since_ms,
                                                    .partial = v->flags & VEC_PARTIAL };
    }
    return 0;
}

static int chain_read(struct reading *r, const struct parts *p)
{
    struct mp m = mp_reader(p->record.p, p->record.len);
    int code = group_init(&r->group, p->genesis.p, p->genesis.len);
    if (code < 0)
        return err_prefix(code, "genesis");
    code = receipts_check_now(r);
    for (uint32_t i = 0; code == 0 && i < p->nrecord; i++) {
        struct bytes blob = mp_skip(&m);
        struct ctl c;
        code = ctl_decode(blob.p, blob.len, &c);
        if (code == 0)
            code = group_apply(&r->group, &c);
        if (code < 0)
            return err_prefix(code, "record %u of the control log", i + 1);
        r->out->log_ms = c.ts_ms;
        code = receipts_check_now(r);
    }
    if (code == 0 && r->at < r->n)
        return err_set(ERR_BAD, "a receipt was signed with control record %" PRIu64 ", which is not in the file", r->vec[r->at].ctl_n);
    return code;
}

static int by_dev(const void *a, const void *b)
{
    return id_cmp(&((const struct receipt *)a)->dev, &((const struct receipt *)b)->dev);
}

/* An id may be required again when the first one is long past: those of the first say nothing of the second. */
static int requirement_check(const struct reading *r)
{
    const struct requirement *q = group_requirement(&r->group, r->id);
    char hex[ID_HEX];
    if (!q)
        return err_set(ERR_BAD, "the control log does not require what the receipts are for");
    for (size_t i = 0; i < r->n; i++)
        if (r->vec[i].ctl_n < q->what->n)
            return err_set(ERR_BAD, "the receipt of device %.16s: is older than what is required", id_hex(&r->vec[i].dev, hex));
    return 0;
}

static int read_all(struct reading *r, const struct parts *p)
{
    int code = vectors_read(r, p);
    r->out->of = xcalloc(r->n + 1, sizeof *r->out->of);
    if (code == 0)
        code = chain_read(r, p);
    if (code == 0)
        code = requirement_check(r);
    if (code < 0)
        return code;
    qsort(r->out->of, r->out->n, sizeof *r->out->of, by_dev);
    group_copy(&r->out->group, &r->group);
    r->out->what = group_requirement(&r->out->group, p->id);
    return 0;
}

int receipts_read(const void *data, size_t len, struct receipts *out)
{
    struct parts p = { 0 };
    AUTO(reading_release) struct reading r = { .id = p.id, .out = out };
    *out = (struct receipts){ 0 };
    int code = parts_read(data, len, &p);
    if (code == 0)
        code = read_all(&r, &p);
    if (code == 0)
        return 0;
    receipts_release(out);
    return ERR_BAD;                      /* whatever was wrong: the text says it, and nobody can use the file */
}

void receipts_release(struct receipts *r)
{
    free(r->of);
    group_release(&r->group);
    *r = (struct receipts){ 0 };
}

const struct receipt *receipts_find(const struct receipts *r, const struct id *dev)
{
    return bsearch(&(struct receipt){ .dev = *dev }, r->of, r->n, sizeof *r->of, by_dev);
}

/* ---- writing one ---- */

int receipts_write(struct buf *out, const struct receipts_parts *p)
{
    size_t start = out->len;
    buf_add(out, RECEIPT_MAGIC, MAGIC_LEN);
    mp_put_array(out, 5);
    mp_put_u64(out, 1);
    buf_add(out, p->genesis.p, p->genesis.len);
    mp_put_array(out, p->nrecord);
    buf_add(out, p->record.p, p->record.len);
    mp_put_bin(out, p->id, sizeof p->id);
    mp_put_array(out, p->nvec);
    buf_add(out, p->vec.p, p->vec.len);
    if (buf_ok(out) && out->len - start - MAGIC_LEN <= LIMIT_RECEIPTS)
        return 0;
    return err_set(ERR_FULL, "the control log and the receipts of all devices are longer than %u bytes", LIMIT_RECEIPTS);
}
