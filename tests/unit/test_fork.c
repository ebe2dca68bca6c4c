/* Streams with two histories, as engines see them: what is signed again of them, and how much at most. The histories are written
 * here, entry by entry, so that they may be what no engine would sign. */
#include "proto/hlc.h"
#include "proto/merkle.h"
#include "tests/unit/t_engine.h"

/* ---- a device that signs what it likes ---- */

struct pen {
    struct world *w;
    const struct device_keys *keys;
    uint8_t inc[8];
    struct sid sid;
    uint64_t known;
    struct id tip;
    struct buf items, sets, rec;         /* not sealed yet; sealed; the last header */
    uint8_t sig[SIG_LEN];
    struct id leaf[64];
    uint32_t n, nsets;
};

static struct pen pen_new(struct world *w, size_t device, uint8_t inc)
{
    struct pen p = {.w = w, .keys = w->d[device].keys, .items = BUF_INIT(LIMIT_BODY), .sets = BUF_INIT(LIMIT_BODY), .rec = BUF_INIT(4096)};
    memset(p.inc, inc, sizeof p.inc);
    p.sid = sid_make(&w->group.id, &p.keys->dev, p.inc);
    return p;
}

static void pen_release(struct pen *p)
{
    buf_release(&p->items);
    buf_release(&p->sets);
    buf_release(&p->rec);
}

static void pen_entry(struct pen *p, const struct entry *ent)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    must(entry_encode(&raw, ent));
    p->leaf[p->n++] = merkle_leaf(raw.data, raw.len);
    cs_put_entry(&p->items, &(struct bytes){raw.data, raw.len});
}

/* A version that supersedes nothing; the later ones of a pen are greater. */
static void pen_file(struct pen *p, const char *path, const char *text)
{
    struct entry ent = {.kind = KIND_FILE, .path = {(const uint8_t *)path, strlen(path)}, .mode = 0644, .size = strlen(text), .mtime_ns = 1,
                        .v.hlc = hlc_make(p->w->wall, (uint16_t)(p->known + p->n))};
    ent.content = (struct content){.type = CONTENT_INLINE, .inline_bytes = {(const uint8_t *)text, strlen(text)}};
    pen_entry(p, &ent);
}

static void pen_blocks(struct pen *p, const char *path, const struct id *root)
{
    struct entry ent = {.kind = KIND_FILE, .path = {(const uint8_t *)path, strlen(path)}, .mode = 0644, .size = 5, .mtime_ns = 1,
                        .v.hlc = hlc_make(p->w->wall, (uint16_t)(p->known + p->n))};
    ent.content = (struct content){.type = CONTENT_BLOCKS, .nblocks = 1, .root = *root};
    pen_entry(p, &ent);
}

static void pen_seal(struct pen *p)
{
    struct header h = {.group = p->w->group.id, .dev = p->keys->dev, .root = merkle_root(p->leaf, p->n), .prev = p->tip, .first = p->known + 1,
                       .count = p->n, .hlc_max = hlc_make(p->w->wall, UINT16_MAX), .wall_ms = p->w->wall, .ctl_n = p->w->group.ctl_n};
    memcpy(h.inc, p->inc, sizeof h.inc);
    buf_clear(&p->rec);
    must(header_encode(&p->rec, p->sig, &h, p->keys));
    cs_put_head(&p->sets, &(struct bytes){p->rec.data, p->rec.len}, p->sig, p->n);
    buf_add(&p->sets, p->items.data, p->items.len);
    buf_clear(&p->items);
    p->tip = id_hash(p->rec.data, p->rec.len);
    p->known += p->n;
    p->nsets++;
    p->n = 0;
}

/* Device `to` gets all that the pens have written, in one reply of device `from`. */
static int hear(struct world *w, size_t to, size_t from, struct pen *const *pen, size_t n)
{
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_BODY);
    uint32_t sets = 0;
    for (size_t i = 0; i < n; i++)
        sets += pen[i]->nsets;
    mp_put_array(&body, sets);
    for (size_t i = 0; i < n; i++)
        buf_add(&body, pen[i]->sets.data, pen[i]->sets.len);
    must(engine_begin(w->d[to].e));
    int r = engine_change_sets(w->d[to].e, &w->d[from].keys->dev, body.data, body.len, w->wall);
    commit(w, to);
    return r;
}

static int prove(struct world *w, size_t to, const struct pen *x, const struct pen *y)
{
    AUTO(buf_release) struct buf body = BUF_INIT(LIMIT_HEAD);
    struct signed_header a = {{x->rec.data, x->rec.len}, x->sig}, b = {{y->rec.data, y->rec.len}, y->sig};
    fork_put(&body, &a, &b);
    must(engine_begin(w->d[to].e));
    int r = engine_fork(w->d[to].e, body.data, body.len, w->wall);
    if (r < 0)
        engine_rollback(w->d[to].e);
    else
        commit(w, to);
    return r;
}

/* ---- what a path has ---- */

struct tally { struct world *w; size_t device; size_t rows, live, own; char least[16]; };

static int tally_row(void *arg, const struct ix_entry *row)
{
    struct tally *t = arg;
    AUTO(entry_release) struct entry ent = {0};
    const struct sid *own = engine_own_sid(t->w->d[t->device].e);
    t->rows++;
    if (!row->live)
        return 0;
    t->live++;
    t->own += own && sid_eq(engine_stream_sid(t->w->d[t->device].e, row->stream), own);
    must(entry_decode(row->raw.p, row->raw.len, &ent));
    char text[16];
    snprintf(text, sizeof text, "%.*s", (int)ent.content.inline_bytes.len, (const char *)ent.content.inline_bytes.p);
    if (!t->least[0] || strcmp(text, t->least) < 0)
        memcpy(t->least, text, sizeof text);
    return 0;
}

static struct tally tally(struct world *w, size_t i, const char *path)
{
    struct tally t = {.w = w, .device = i};
    int64_t id;
    must(index_path_id(w->d[i].ix, path, strlen(path), false, &id));
    must(index_entry_each_of_path(w->d[i].ix, id, tally_row, &t));
    return t;
}

/* ---- of a path ---- */

static void test_the_greatest_of_a_path_are_signed_again(void)
{
    struct world *w = world_new();
    struct pen one = pen_new(w, 2, 9), two = pen_new(w, 2, 9);
    for (int i = 0; i < 20; i++) {
        char text[16];
        snprintf(text, sizeof text, "v%02d", i);
        pen_file(&one, "a", text);
    }
    pen_file(&one, "b", "alone");
    pen_seal(&one);
    pen_file(&two, "a", "other");
    pen_seal(&two);
    EQ_I(hear(w, 0, 2, (struct pen *[]){&one}, 1), 21);
    install(w, 0);
    EQ_S(shows(w, 0, "a"), "v19");
    EQ_U(tally(w, 0, "a").live, 20);
    EQ_I(prove(w, 0, &one, &two), 1);
    struct tally a = tally(w, 0, "a"), b = tally(w, 0, "b");
    EQ_U(a.live, 8);
    EQ_U(a.own, 8);
    EQ_S(a.least, "v12");
    EQ_U(a.rows, 28);                      /* the others are there to be read */
    EQ_U(b.live, 1);
    EQ_U(b.own, 1);
    EQ_U(install(w, 0), 0);                /* the disk shows what it showed */
    EQ_S(shows(w, 0, "a"), "v19");
    EQ_I(pull_entries(w, 0, 1), 9);
    EQ_U(tally(w, 1, "a").live, 8);
    world_free(w);
    pen_release(&one);
    pen_release(&two);
}

static int first_kept(void *arg, const struct ix_kept *k)
{
    *(uint64_t *)arg = k->kept_ms;
    return 1;
}

/* What is signed again is what is here; what has waited as a conflict and is history now stays as long as if it had just become that. */
static void test_only_what_is_here_is_signed_and_history_begins_now(void)
{
    struct world *w = world_new();
    struct pen one = pen_new(w, 2, 9), two = pen_new(w, 2, 9);
    struct id root[12];
    for (uint8_t i = 0; i < 12; i++) {
        root[i] = id_hash(&i, 1);
        pen_blocks(&one, "a", &root[i]);
    }
    pen_seal(&one);
    pen_file(&two, "a", "other");
    pen_seal(&two);
    EQ_I(hear(w, 0, 2, (struct pen *[]){&one}, 1), 12);
    must(engine_begin(w->d[0].e));
    for (int i = 0; i < 10; i++)           /* not of the two greatest */
        must(index_kept_put(w->d[0].ix, &(struct ix_kept){.path = 1, .root = root[i], .size = 5, .kept_ms = i == 1 ? w->wall + 7 : 1000, .name = "k"}));
    commit(w, 0);
    EQ_I(prove(w, 0, &one, &two), 1);
    EQ_U(tally(w, 0, "a").own, 8);
    for (int i = 0; i < 10; i++) {
        uint64_t kept = 0;
        EQ_I(index_kept_by_root(w->d[0].ix, &root[i], first_kept, &kept), 1);
        EQ_U(kept, i == 0 ? w->wall : i == 1 ? w->wall + 7 : 1000);
    }
    world_free(w);
    pen_release(&one);
    pen_release(&two);
}

/* ---- of a device ---- */

/* Stream number i of device 2, with the file "s<i>" in either history. */
static void split(struct world *w, uint8_t i, struct pen *one, struct pen *two)
{
    char path[16];
    snprintf(path, sizeof path, "s%d", i);
    *one = pen_new(w, 2, (uint8_t)(100 + i));
    *two = pen_new(w, 2, (uint8_t)(100 + i));
    pen_file(one, path, "one");
    pen_seal(one);
    pen_file(two, path, "two");
    pen_seal(two);
}

enum { MANY = 20, ENOUGH = 16 };
struct splits { struct pen one[MANY], two[MANY]; };

static struct splits *splits_new(struct world *w)
{
    struct splits *s = xcalloc(1, sizeof *s);
    for (uint8_t i = 0; i < MANY; i++) {
        split(w, i, &s->one[i], &s->two[i]);
        EQ_I(hear(w, 0, 2, (struct pen *[]){&s->one[i]}, 1), 1);
    }
    return s;
}

static void splits_free(struct splits *s)
{
    for (size_t i = 0; i < MANY; i++) {
        pen_release(&s->one[i]);
        pen_release(&s->two[i]);
    }
    free(s);
}

static void restart(struct world *w, size_t i)
{
    engine_free(&w->d[i].e);
    struct engine_config c = {.index = w->d[i].ix, .group = &w->group, .keys = w->d[i].keys};
    memset(c.inst, 77, sizeof c.inst);
    must(engine_new(&c, &w->d[i].e));
}

static void test_only_so_many_streams_of_a_device_end(void)
{
    struct world *w = world_new();
    struct splits *s = splits_new(w);
    struct id dev;
    for (int i = 0; i < ENOUGH; i++) {
        CHECK(!engine_next_distrusted(w->d[0].e, &dev));
        EQ_I(prove(w, 0, &s->one[i], &s->two[i]), 1);
        EQ_I(prove(w, 0, &s->one[i], &s->two[i]), 0);
    }
    CHECK(engine_next_distrusted(w->d[0].e, &dev));
    CHECK(id_eq(&dev, &w->d[2].keys->dev));
    CHECK(!engine_next_distrusted(w->d[0].e, &dev));
    EQ_I(prove(w, 0, &s->one[16], &s->two[16]), ERR_DENIED);
    CHECK(!engine_next_distrusted(w->d[0].e, &dev));
    EQ_U(tally(w, 0, "s15").own, 1);
    EQ_U(tally(w, 0, "s16").live, 1);      /* what came first stays */
    EQ_U(tally(w, 0, "s16").own, 0);
    restart(w, 0);
    EQ_I(prove(w, 0, &s->one[17], &s->two[17]), ERR_DENIED);
    EQ_I(prove(w, 0, &s->one[3], &s->two[3]), 0);
    CHECK(engine_next_distrusted(w->d[0].e, &dev));
    splits_free(s);
    world_free(w);
}

/* The second history of such a device is refused by itself, and what others have signed is taken. */
static void test_a_refused_history_holds_up_nobody(void)
{
    struct world *w = world_new();
    struct splits *s = splits_new(w);
    struct pen good = pen_new(w, 1, 1), longer = pen_new(w, 2, 100 + 16);
    for (int i = 0; i < ENOUGH; i++)
        EQ_I(prove(w, 0, &s->one[i], &s->two[i]), 1);
    pen_file(&good, "good", "good");
    pen_seal(&good);
    pen_file(&longer, "s16", "two");
    pen_file(&longer, "s16-more", "more");
    pen_seal(&longer);
    EQ_I(hear(w, 0, 1, (struct pen *[]){&s->two[17], &longer, &good}, 3), 1);
    EQ_U(tally(w, 0, "good").live, 1);
    EQ_U(tally(w, 0, "s16").live, 1);
    EQ_I(hear(w, 0, 1, (struct pen *[]){&longer}, 1), 0);              /* refused already, until forgiven */
    engine_forgive(w->d[0].e);
    EQ_I(hear(w, 0, 1, (struct pen *[]){&longer}, 1), ERR_BAD);
    splits_free(s);
    world_free(w);
    pen_release(&good);
    pen_release(&longer);
}

/* One has ended streams that another one refuses to end: neither waits for the other. */
static void test_who_is_not_trusted_is_not_waited_for(void)
{
    struct world *w = world_new();
    struct splits *s = splits_new(w);
    for (int i = 0; i < MANY; i++)
        EQ_I(hear(w, 1, 2, (struct pen *[]){&s->one[i]}, 1), 1);
    for (int i = 0; i < ENOUGH; i++) {
        EQ_I(prove(w, 0, &s->one[i], &s->two[i]), 1);
        EQ_I(prove(w, 1, &s->one[MANY - 1 - i], &s->two[MANY - 1 - i]), 1);
    }
    for (int i = 0; i < 3; i++) {
        pull_entries(w, 0, 1);
        install(w, 1);
        pull_entries(w, 1, 0);
        install(w, 0);
    }
    pull_entries(w, 0, 1);
    CHECK(engine_have_all_of(w->d[0].e, &w->d[1].keys->dev));
    CHECK(engine_has_all_of_us(w->d[0].e, &w->d[1].keys->dev));
    CHECK(engine_have_all_of(w->d[1].e, &w->d[0].keys->dev));
    CHECK(engine_has_all_of_us(w->d[1].e, &w->d[0].keys->dev));
    EQ_U(engine_missing_at(w->d[1].e, &w->d[0].keys->dev), 0);
    splits_free(s);
    world_free(w);
}

int main(void)
{
    must(keys_init());
    RUN(test_the_greatest_of_a_path_are_signed_again);
    RUN(test_only_what_is_here_is_signed_and_history_begins_now);
    RUN(test_only_so_many_streams_of_a_device_end);
    RUN(test_a_refused_history_holds_up_nobody);
    RUN(test_who_is_not_trusted_is_not_waited_for);
    return t_done();
}
