/* Values of the index that are more than a number or a hash, as bytes: msgpack, with the number of the format first, so that a later one is
 * told apart, and a damaged one found.
 *   lock    [1, [[id, state, since_ms]...], id that was accepted, held, newest, [sid, seq, hash]]
 *   ended   [1, [[sid, dev, end]...]] */
#include "node/engine_priv.h"
#include "proto/field.h"

enum { FORMAT = 1 };

static int done(struct field *f)
{
    int r = field_done(f);
    return r < 0 ? err_prefix(err_set(ERR_CORRUPT, "%s: move the index away and start again", f->rec), "index") : 0;
}

/* ---- lock ---- */

void saved_lock_put(struct buf *out, const struct lock_saved *s)
{
    mp_put_array(out, 6);
    mp_put_u64(out, FORMAT);
    mp_put_array(out, s->n);
    for (size_t i = 0; i < s->n; i++) {
        mp_put_array(out, 3);
        mp_put_bin(out, s->of[i].id, sizeof s->of[i].id);
        mp_put_u64(out, s->of[i].state);
        mp_put_u64(out, s->of[i].since_ms);
    }
    mp_put_bin(out, s->accepted, sizeof s->accepted);
    mp_put_bool(out, s->held);
    mp_put_u64(out, (uint64_t)s->newest);
    cut_put(out, &s->hold);
}

static void read_state(struct field *f, struct lock_of *l)
{
    field_tuple(f, "state", 3);
    field_fixed(f, "id", l->id, sizeof l->id);
    l->state = (uint32_t)field_u64(f, "state", LOCK_NONE, LOCK_OVERRIDDEN);
    l->since_ms = field_u64(f, "since", 0, UINT64_MAX);
}

static bool read_flag(struct field *f, const char *name)
{
    bool v = !f->code && mp_bool(&f->m);
    field_check(f, name, "neither true nor false");
    return v;
}

static void read_hold(struct field *f, struct cut *c)
{
    field_tuple(f, "hold", 3);
    field_fixed(f, "hold", c->sid.b, SID_LEN);
    c->seq = field_u64(f, "hold", 0, LIMIT_SEQ);
    field_id_or_none(f, "hold", &c->hdr_hash);
}

int saved_lock_get(const struct buf *b, struct lock_saved *out)
{
    struct field f;
    struct lock_saved s = {.n = 0};
    field_open(&f, "value lock", b->data, b->len, SAVED_LOCK_MAX, 6);
    field_format(&f, FORMAT);
    s.n = field_list(&f, "states", 0, LIMIT_REQUIRED);
    for (size_t i = 0; i < s.n; i++)
        read_state(&f, &s.of[i]);
    field_fixed(&f, "accepted", s.accepted, sizeof s.accepted);
    s.held = read_flag(&f, "held");
    s.newest = (int64_t)field_u64(&f, "newest", 0, INT64_MAX);
    read_hold(&f, &s.hold);
    int r = done(&f);
    if (r == 0)
        *out = s;
    return r;
}

/* ---- ended ---- */

void saved_ends_put(struct buf *out, const struct end *end, size_t n)
{
    mp_put_array(out, 2);
    mp_put_u64(out, FORMAT);
    mp_put_array(out, n);
    for (size_t i = 0; i < n; i++) {
        mp_put_array(out, 3);
        mp_put_bin(out, end[i].sid.b, SID_LEN);
        mp_put_bin(out, end[i].dev.b, ID_LEN);
        mp_put_u64(out, end[i].end);
    }
}

int saved_ends_each(const struct buf *b, void (*take)(struct engine *e, const struct end *t), struct engine *e)
{
    struct field f;
    field_open(&f, "value ended", b->data, b->len, SAVED_ENDS_MAX, 2);
    field_format(&f, FORMAT);
    uint32_t n = field_list(&f, "streams", 0, LIMIT_OBJECTS);
    for (uint32_t i = 0; i < n && !f.code; i++) {
        struct end t = {.end = 0};
        field_tuple(&f, "stream", 3);
        field_fixed(&f, "sid", t.sid.b, SID_LEN);
        field_id(&f, "dev", &t.dev);
        t.end = field_u64(&f, "end", 0, UINT64_MAX);
        if (!f.code)
            take(e, &t);
    }
    return done(&f);
}
