#include "node/chain.h"

#include <assert.h>

#define RIVAL_MAX (16u << 20)        /* what two sides of a network may write while they do not hear of each other */
#define STEP 4                       /* how much farther back the next question goes */

enum { FITS, PARTS_EARLIER };        /* what one record is; or negative */

void chain_begin(struct chain *c, uint64_t asked)
{
    c->asked = asked;
    c->step = 1;
    c->met = c->traced = c->kept_ours = c->switched = false;
    c->n = 0;
    c->rival = (struct buf)BUF_INIT(RIVAL_MAX);
}

void chain_release(struct chain *c) { buf_release(&c->rival); }

static int collect(struct chain *c, const struct ctl *r, const struct bytes *blob)
{
    if (c->n && (r->n != c->first + c->n || !id_eq(&r->prev, &c->last)))
        return err_set(ERR_BAD, "control records: do not follow each other");
    if (!c->n)
        c->first = r->n;
    c->n++;
    c->last = r->hash;
    buf_add(&c->rival, blob->p, blob->len);
    return buf_ok(&c->rival) ? FITS : err_set(ERR_FULL, "control records: too many that contradict ours");
}

/* One record while nothing has been collected. */
static int compare(struct chain *c, const struct ctl *r, const struct bytes *blob)
{
    const struct group *g = control_group(c->control);
    struct id ours;
    if (!id_eq(&r->group, &g->id))
        return err_set(ERR_BAD, "control record: of another group");
    if (r->n > g->ctl_n + 1)
        return c->met ? err_set(ERR_BAD, "control records: do not follow each other") : PARTS_EARLIER;
    if (control_hash(c->control, r->n, &ours) == 0 && id_eq(&ours, &r->hash)) {
        c->met = true;
        return FITS;
    }
    int code = control_hash(c->control, r->n - 1, &ours);
    if (code < 0)
        return code;
    if (!id_eq(&ours, &r->prev))
        return PARTS_EARLIER;
    c->met = true;
    return r->n == g->ctl_n + 1 ? control_append(c->control, blob->p, blob->len) : collect(c, r, blob);
}

/* nth: of the answer. */
static int take_one(struct chain *c, const struct bytes *blob, uint32_t nth)
{
    struct ctl r;
    int code = ctl_decode(blob->p, blob->len, &r);
    if (code < 0)
        return code;
    if (c->asked && r.n != c->asked + nth)
        return err_set(ERR_BAD, "control records: not the ones that were asked for");
    c->seen = r.n;
    return c->n ? collect(c, &r, blob) : compare(c, &r, blob);
}

static int go_back(struct chain *c)
{
    if (!c->asked)
        return err_set(ERR_AGAIN, "control records: ours part from them earlier");
    if (c->met || c->asked == 1)
        return err_set(ERR_BAD, "control records: do not continue the ones before them");
    c->asked = c->asked > c->step ? c->asked - c->step : 1;
    c->step *= STEP;
    c->traced = true;
    return 1;
}

/* Does it weigh more already? Then what is still to come continues it: a chain that grows never weighs less. */
static int judge(struct chain *c)
{
    struct bytes rival = {c->rival.data, c->rival.len};
    int r = control_judge(c->control, c->first, &rival);
    c->kept_ours = r == 0;
    if (r > 0)
        r = c->losing(c->arg, c->first) < 0 ? ERR_IO : control_switch(c->control, c->first, &rival);
    if (r < 0 || c->kept_ours)
        return r;
    c->switched = true;
    c->n = 0;
    buf_clear(&c->rival);
    return 0;
}

/* The end of what came: what next? */
static int next(struct chain *c, uint32_t count)
{
    if (count == 0)
        return c->met || c->asked <= 1 ? 0 : go_back(c);
    int r = c->n ? judge(c) : 0;
    if (r < 0 || !c->asked)
        return r;
    c->asked = c->seen + 1;
    return c->n || c->switched || c->traced;
}

int chain_take(struct chain *c, const void *body, size_t len)
{
    int r = mp_check(body, len);
    if (r < 0)
        return r;
    struct mp m = mp_reader(body, len);
    uint32_t count = mp_array(&m, LIMIT_OBJECTS);
    for (uint32_t i = 0; r == FITS && i < count; i++) {
        struct bytes blob = mp_skip(&m);
        r = take_one(c, &blob, i);
        if (r == PARTS_EARLIER)
            return go_back(c);
    }
    if (r == 0)
        r = mp_done(&m, "control records");
    return r < 0 ? r : next(c, count);
}
