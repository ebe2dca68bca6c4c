#include "node/check_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOLD_MS = 20, WAIT_MS = 50, LATE_MS = 60 * 1000 };

/* ---- findings ---- */

struct check_finding *check_add(struct check *k, const char *what, const char *name, size_t len, const char *why)
{
    k->v = xrealloc(k->v, k->n + 1, sizeof *k->v);
    struct check_finding *f = &k->v[k->n++];
    *f = (struct check_finding){.state = CHECK_DAMAGED, .what = what, .name = xcalloc(len + 1, 1), .len = len, .why = xstrdup(why)};
    memcpy(f->name, name, len);
    return f;
}

size_t check_findings(const struct check *k, const struct check_finding **out)
{
    *out = k->v;
    return k->n;
}

const struct check_figures *check_figures(const struct check *k) { return &k->figures; }
const char *check_failure(const struct check *k) { return k->failure[0] ? k->failure : NULL; }
bool check_done(struct check *k) { return k->phase == PHASE_DONE; }

/* ---- phases ---- */

static void pump(void *arg);

static void wake(struct check *k, uint64_t in_ms)
{
    if (!k->stopped)
        loop_timer_set(k->c.loop, &k->timer, in_ms, pump, k);
}

void check_fail(struct check *k, const char *why)
{
    snprintf(k->failure, sizeof k->failure, "%s", why);
    k->phase = PHASE_DONE;
}

static int note_pack(void *arg, const struct ix_pack *p)
{
    struct check *k = arg;
    k->packs = xrealloc(k->packs, k->npacks + 1, sizeof *k->packs);
    k->packs[k->npacks++] = *p;
    return 0;
}

static bool next_pack(struct check *k)
{
    if (!k->packs && index_pack_each(k->c.index, note_pack, k) < 0)
        check_fail(k, err_text());
    return k->at_pack < k->npacks && check_look_pack(k, k->packs[k->at_pack++].pack);
}

/* Whether what was wanted has come. After a while without any of it the rest counts as lost for now; it stays wanted. */
static bool still_waiting(struct check *k)
{
    size_t left = 0;
    struct ix_want w;
    for (size_t i = 0; i < k->n; i++) {
        if (k->v[i].state != CHECK_WANTED)
            continue;
        if (index_want_get(k->c.index, k->v[i].want, &w) == ERR_NOTFOUND)
            k->v[i].state = CHECK_REPAIRED;
        else
            left++;
    }
    if (left != k->left)
        k->since = loop_now();
    k->left = left;
    return left && loop_now() < k->since + LATE_MS;
}

/* What this phase has to do next has begun, or is to be gone on with at once; false: it is over. */
static bool step(struct check *k)
{
    switch (k->phase) {
    case PHASE_HOLD:
        return !keeper_hold(k->c.keeper);
    case PHASE_INDEX:
        return check_look_index(k);
    case PHASE_FOLDER:
        return check_look_folder(k);
    case PHASE_KEPT:
        return check_look_kept(k);
    case PHASE_PACKS:
        return next_pack(k);
    case PHASE_VERSIONS:
        return check_look_versions(k);
    case PHASE_WAIT:
        return still_waiting(k);
    case PHASE_DONE:
        break;
    }
    return true;
}

static void pump(void *arg)
{
    struct check *k = arg;
    if (!step(k) && k->phase != PHASE_DONE) {
        k->phase++;
        k->cursor = INT64_MIN;
    }
    if (!k->running && k->phase < PHASE_DONE)
        wake(k, k->phase == PHASE_HOLD ? HOLD_MS : k->phase == PHASE_WAIT ? WAIT_MS : 1);
    if (k->phase >= PHASE_WAIT)
        keeper_let_go(k->c.keeper);
}

/* ---- life ---- */

static void destroy(struct check *k)
{
    for (size_t i = 0; i < k->n; i++) {
        free(k->v[i].name);
        free(k->v[i].why);
    }
    free(k->v);
    free(k->packs);
    free(k->c.index_path);
    pathset_release(&k->bad);
    free(k);
}

void check_job_done(struct check *k)
{
    k->running = false;
    if (k->stopped)
        destroy(k);
    else
        wake(k, 0);
}

void check_new(const struct check_config *c, struct check **out)
{
    struct check *k = xcalloc(1, sizeof *k);
    k->c = *c;
    *out = k;
    wake(k, 0);
}

void check_stop(struct check *k)
{
    k->stopped = true;
    k->stop = true;
    loop_timer_clear(k->c.loop, &k->timer);
    keeper_let_go(k->c.keeper);
    if (!k->running)
        destroy(k);
}
