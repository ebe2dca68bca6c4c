#include "proto/msg.h"

#include <string.h>

#include "proto/field.h"

#define HEADER_MAX 512u   /* more than any header */

static void header_put(struct buf *b, const struct bytes *hdr, const uint8_t *sig)
{
    mp_put_bin(b, hdr->p, hdr->len);
    mp_put_bin(b, sig, SIG_LEN);
}

/* A header and its signature, as bytes. */
static void header_fields(struct field *f, struct bytes *hdr, const uint8_t **sig)
{
    *hdr = field_bin(f, "hdr", 1, HEADER_MAX);
    *sig = field_bin(f, "sig", SIG_LEN, SIG_LEN).p;
}

/* The end of reading one element of a list: the reader moves on, or stays failed. */
static int element_done(struct field *f, struct mp *m)
{
    field_check(f, "fields", "missing");
    *m = f->m;
    return f->code;
}

/* ---- any array ---- */

static int list_open(const char *what, const void *body, size_t len, size_t max, struct mp *m, uint32_t *n)
{
    struct field f;
    field_open_any(&f, what, body, len, max);
    *n = field_list(&f, "list", 0, LIMIT_OBJECTS);
    *m = f.m;
    return f.code;
}

int body_open(const void *body, size_t len, struct mp *m, uint32_t *n)
{
    return list_open("body", body, len, LIMIT_BODY, m, n);
}

/* ---- HIST ---- */

void hist_put(struct buf *b, const struct hist_item *it)
{
    mp_put_array(b, 3);
    mp_put_bin(b, it->dot.sid.b, SID_LEN);
    mp_put_u64(b, it->dot.seq);
    mp_put_bin(b, it->root.b, ID_LEN);
}

int hist_next(struct mp *m, const struct hist_item *before, struct hist_item *out)
{
    struct field f = { .m = *m, .rec = "HIST item" };
    struct hist_item it;
    field_tuple(&f, "fields", 3);
    field_fixed(&f, "sid", it.dot.sid.b, SID_LEN);
    it.dot.seq = field_u64(&f, "seq", 1, LIMIT_SEQ);
    field_id_or_none(&f, "root", &it.root);
    field_rule(&f, dot_cmp(&before->dot, &it.dot) < 0, "seq", "not sorted, or an entry twice");
    *out = it;
    return element_done(&f, m);
}

/* ---- GET_VECS, VECS ---- */

void held_put(struct buf *b, const struct vec_held *h)
{
    mp_put_array(b, 5);
    mp_put_bin(b, h->dev.b, ID_LEN);
    mp_put_bin(b, h->inst, sizeof h->inst);
    mp_put_u64(b, h->ctr);
    mp_put_u64(b, h->wall_ms);
    mp_put_bin(b, h->meaning, sizeof h->meaning);
}

int held_next(struct mp *m, const struct vec_held *before, struct vec_held *out)
{
    struct field f = { .m = *m, .rec = "GET_VECS item" };
    struct vec_held h;
    field_tuple(&f, "fields", 5);
    field_id(&f, "dev", &h.dev);
    field_fixed(&f, "inst", h.inst, sizeof h.inst);
    h.ctr = field_u64(&f, "ctr", 0, LIMIT_SEQ);
    h.wall_ms = field_u64(&f, "wall_ms", 0, RECORD_MS_MAX);
    field_fixed(&f, "meaning", h.meaning, sizeof h.meaning);
    field_rule(&f, id_cmp(&before->dev, &h.dev) < 0, "dev", "not sorted, or one twice");
    *out = h;
    return element_done(&f, m);
}

void told_put(struct buf *b, const struct vec_told *t)
{
    mp_put_array(b, 3);
    mp_put_bin(b, t->dev.b, ID_LEN);
    mp_put_u64(b, t->age_ms);
    mp_put_bin(b, t->vec.p, t->vec.len);
}

int told_next(struct mp *m, const struct vec_told *before, struct vec_told *out)
{
    struct field f = { .m = *m, .rec = "VECS item" };
    struct vec_told t;
    field_tuple(&f, "fields", 3);
    field_id(&f, "dev", &t.dev);
    t.age_ms = field_u64(&f, "age_ms", 0, MSG_AGE_MAX_MS);
    t.vec = field_bin(&f, "vec", 0, LIMIT_BODY);
    field_rule(&f, id_cmp(&before->dev, &t.dev) < 0, "dev", "not sorted, or one twice");
    *out = t;
    return element_done(&f, m);
}

bool vec_newer(const struct vec *a, const struct vec_held *than)
{
    return memcmp(a->inst, than->inst, sizeof a->inst) == 0 ? a->ctr > than->ctr : a->wall_ms > than->wall_ms;
}

/* ---- FORK ---- */

void fork_put(struct buf *b, const struct signed_header *x, const struct signed_header *y)
{
    mp_put_array(b, 2);
    mp_put_array(b, 2);
    header_put(b, &x->hdr, x->sig);
    mp_put_array(b, 2);
    header_put(b, &y->hdr, y->sig);
}

static bool overlap(const struct header *a, const struct header *b)
{
    return a->first < b->first + b->count && b->first < a->first + a->count;
}

int fork_verify(const void *body, size_t len, struct header h[static 2])
{
    struct field f;
    struct signed_header part[2];
    field_open(&f, "FORK", body, len, LIMIT_HEAD, 2);
    for (int i = 0; i < 2; i++) {
        field_tuple(&f, "header", 2);
        header_fields(&f, &part[i].hdr, &part[i].sig);
    }
    int code = field_done(&f);
    for (int i = 0; i < 2 && code == 0; i++)
        code = header_decode(part[i].hdr.p, part[i].hdr.len, part[i].sig, &h[i]);
    if (code < 0)
        return err_prefix(code, "FORK");
    if (!sid_eq(&h[0].sid, &h[1].sid) || !id_eq(&h[0].dev, &h[1].dev) || !id_eq(&h[0].group, &h[1].group))
        return err_set(ERR_BAD, "FORK: headers of two streams");
    if (id_eq(&h[0].hash, &h[1].hash) || !overlap(&h[0], &h[1]))
        return err_set(ERR_BAD, "FORK: the headers do not contradict each other");
    return 0;
}

/* ---- CS ---- */

int cs_body_open(const void *body, size_t len, struct mp *m, uint32_t *n)
{
    return list_open("CS", body, len, LIMIT_CS_REPLY, m, n);
}

int cs_next(struct mp *m, struct cs *out)
{
    struct field f = { .m = *m, .rec = "change set" };
    *out = (struct cs){ 0 };
    field_tuple(&f, "fields", 3);
    header_fields(&f, &out->hdr, &out->sig);
    struct field ahead = f;   /* looks at the list's header, which stays part of the raw items */
    out->nitems = field_list(&ahead, "items", 1, LIMIT_CS_COUNT);
    if (ahead.code)
        f = ahead;
    out->items = field_raw(&f, "items");
    return element_done(&f, m);
}

struct mp cs_items(const struct cs *cs)
{
    struct mp m = mp_reader(cs->items.p, cs->items.len);
    (void)mp_array(&m, LIMIT_CS_COUNT);
    return m;
}

static void item_read(struct field *f, uint32_t index, struct cs_item *it)
{
    *it = (struct cs_item){ .index = index, .count = 1 };
    if (!f->code && mp_peek(&f->m) == MP_BIN) {
        it->ent = field_bin(f, "entry", 1, LIMIT_ENTRY);
        if (!f->code)
            it->hash = merkle_leaf(it->ent.p, it->ent.len);
        return;
    }
    it->pruned = true;
    field_tuple(f, "pruned run", 3);
    field_rule(f, field_u64(f, "pruned run", 0, LIMIT_CS_COUNT - 1) == index, "pruned run", "not the leaves that come next");
    it->count = (uint32_t)field_u64(f, "pruned run", 1, LIMIT_CS_COUNT);
    field_rule(f, it->count <= LIMIT_CS_COUNT - index, "pruned run", "goes beyond the last leaf");
    field_id(f, "pruned run", &it->hash);
}

void cs_item_next(struct mp *m, uint32_t *index, struct cs_item *it)
{
    struct field f = { .m = *m, .rec = "change set" };
    field_rule(&f, *index < LIMIT_CS_COUNT, "items", "more leaves than a change set can have");
    item_read(&f, *index, it);
    if (!f.code)
        *index += it->count;
    *m = f.m;
}

int cs_verify(const struct cs *cs, struct header *h)
{
    int code = header_decode(cs->hdr.p, cs->hdr.len, cs->sig, h);
    if (code < 0)
        return code;
    if (cs->nitems > h->count)
        return err_set(ERR_BAD, "change set: items: more than its header counts");
    AUTOFREE struct merkle_item *item = xcalloc(cs->nitems, sizeof *item);
    struct mp m = cs_items(cs);
    uint32_t index = 0;
    size_t bytes = 0;
    for (uint32_t i = 0; i < cs->nitems && !m.failed; i++) {
        struct cs_item it;
        cs_item_next(&m, &index, &it);
        item[i] = (struct merkle_item){ it.index, it.count, it.hash };
        bytes += it.ent.len;
    }
    if (m.failed)
        return ERR_BAD; /* cs_item_next has set the text */
    if (bytes > LIMIT_CS_BYTES)
        return err_set(ERR_BAD, "change set: items: %zu bytes of entries, at most %u allowed", bytes, LIMIT_CS_BYTES);
    struct id root;
    code = merkle_root_pruned(item, cs->nitems, h->count, &root);
    if (code < 0)
        return code;
    return id_eq(&root, &h->root) ? 0 : err_set(ERR_BAD, "change set: items: not what its signed root commits to");
}

void cs_put_head(struct buf *b, const struct bytes *hdr, const uint8_t sig[static SIG_LEN], uint32_t nitems)
{
    mp_put_array(b, 3);
    header_put(b, hdr, sig);
    mp_put_array(b, nitems);
}

void cs_put_entry(struct buf *b, const struct bytes *ent)
{
    mp_put_bin(b, ent->p, ent->len);
}

void cs_put_pruned(struct buf *b, uint32_t first, uint32_t count, const struct id *hash)
{
    mp_put_array(b, 3);
    mp_put_u64(b, first);
    mp_put_u64(b, count);
    mp_put_bin(b, hash->b, ID_LEN);
}

/* ---- LIVE ---- */

void live_put(struct buf *b, const struct live_item *it)
{
    mp_put_array(b, 5);
    header_put(b, &it->hdr, it->sig);
    mp_put_u64(b, it->index);
    mp_put_bin(b, it->ent.p, it->ent.len);
    mp_put_array(b, it->nproof);
    for (uint32_t i = 0; i < it->nproof; i++)
        mp_put_bin(b, it->proof[i].b, ID_LEN);
}

int live_next(struct mp *m, struct live_item *out)
{
    struct field f = { .m = *m, .rec = "LIVE item" };
    *out = (struct live_item){ 0 };
    field_tuple(&f, "fields", 5);
    header_fields(&f, &out->hdr, &out->sig);
    out->index = (uint32_t)field_u64(&f, "index", 0, LIMIT_CS_COUNT - 1);
    out->ent = field_bin(&f, "entry", 1, LIMIT_ENTRY);
    out->nproof = field_list(&f, "proof", 0, MERKLE_PROOF_MAX);
    for (uint32_t i = 0; i < out->nproof; i++)
        field_id(&f, "proof", &out->proof[i]);
    return element_done(&f, m);
}

int live_verify(const struct live_item *it, struct header *h)
{
    int code = header_decode(it->hdr.p, it->hdr.len, it->sig, h);
    if (code < 0)
        return err_prefix(code, "LIVE item");
    struct id leaf = merkle_leaf(it->ent.p, it->ent.len), root;
    code = merkle_root_from_proof(&leaf, h->count, it->index, it->proof, it->nproof, &root);
    if (code < 0)
        return err_prefix(code, "LIVE item");
    return id_eq(&root, &h->root) ? 0 : err_set(ERR_BAD, "LIVE item: proof: does not lead to the signed root");
}
