#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/keeper_priv.h"
#include "node/log.h"
#include "proto/policy.h"

enum { HURRY_S = 2, IDLE_S = 10, STEP_MS = 1 };
#define PASS_MS (60u * 60 * 1000)     /* without a reason */
#define RETRY_MS (10u * 60 * 1000)    /* after a failure */

typedef enum step_result step_fn(struct keeper *k);
/* Marking comes before the share is looked at: it says how much is still referred to. */
static step_fn *const steps[] = {NULL, keeper_adopt, keeper_alone_review, keeper_alone, keeper_age,
                                 keeper_expire_old, keeper_fold, keeper_mark, keeper_expire_share, keeper_compact, keeper_forget};
enum { LIGHT_STEPS = 4, NSTEPS = sizeof steps / sizeof *steps };

/* ---- passes ---- */

bool keeper_is_idle(const struct keeper *k) { return k->forced || k->idle >= IDLE_S; }

static bool may_run(const struct keeper *k)
{
    bool begun = k->step && !k->light;
    return !k->freeing && !k->running && !k->held && (begun ? keeper_is_idle(k) : k->forced || k->idle >= HURRY_S);
}

static void pass_over(struct keeper *k, uint64_t next_ms)
{
    k->step = 0;
    k->passes++;
    k->due = loop_now() + next_ms;
    k->forced = k->passes < k->wanted;
    keeper_gc_release(k);
    if (k->figures.folded || k->figures.expired || k->figures.compacted || k->figures.forgotten)
        log_info("history folded=%llu bytes=%llu expired=%llu packs_written_anew=%llu forgotten=%llu", (unsigned long long)k->figures.folded,
                 (unsigned long long)k->figures.folded_bytes, (unsigned long long)k->figures.expired,
                 (unsigned long long)k->figures.compacted, (unsigned long long)k->figures.forgotten);
    k->c.done(k->c.arg);
}

/* Of a light one nobody hears, unless it fails. */
static void light_pass_over(struct keeper *k)
{
    k->step = 0;
    k->light = false;
    k->failure[0] = '\0';
}

static void begin_full_pass(struct keeper *k)
{
    k->failure[0] = '\0';
    k->stuck = false;
    k->figures = (struct keeper_figures){0};
    k->dirty |= k->forced;
    k->forgotten_to = 0;
    if (k->forced)
        k->folded_to = 0;
}

static bool begin_pass(struct keeper *k)
{
    if (k->step > 0)
        return true;
    bool idle = keeper_is_idle(k), full = idle && (k->forced || loop_now() >= k->due || (!k->stuck && keeper_fold_waiting(k)));
    if (!full && !keeper_alone_waiting(k, !idle))
        return false;
    k->step = 1;
    k->light = !full;
    keeper_alone_begin(k, k->light);
    if (full)
        begin_full_pass(k);
    return true;
}

static void step_over(struct keeper *k)
{
    k->step++;
    if (k->light && k->step == LIGHT_STEPS)
        light_pass_over(k);
    else if (k->step == NSTEPS)
        pass_over(k, k->stuck ? RETRY_MS : PASS_MS);
}

static void step_failed(struct keeper *k)
{
    log_warn("history why=\"%s\"", k->failure);
    if (k->light) {
        light_pass_over(k);
        return;
    }
    k->stuck = true;
    pass_over(k, RETRY_MS);
}

static void pump(void *arg);
static void again(struct keeper *k, uint64_t in_ms)
{
    if (!k->freeing)
        loop_timer_set(k->c.loop, &k->timer, in_ms, pump, k);
}

static void pump(void *arg)
{
    struct keeper *k = arg;
    if (!may_run(k) || !begin_pass(k))
        return;
    k->stop = false;
    switch (steps[k->step](k)) {
    case STEP_LATER:
        return;
    case STEP_AGAIN:
        break;
    case STEP_OVER:
        step_over(k);
        break;
    case STEP_FAILED:
        step_failed(k);
        break;
    }
    again(k, STEP_MS);                  /* whoever waits for the loop comes first */
}

void keeper_job_done(struct keeper *k)
{
    k->running = false;
    again(k, 0);
}

enum step_result keeper_fail(struct keeper *k, const char *text)
{
    snprintf(k->failure, sizeof k->failure, "%s", text);
    return STEP_FAILED;
}

int keeper_commit(struct keeper *k, int r)
{
    if (r == 0)
        return engine_commit(k->c.engine, loop_wall());
    if (index_in_tx(k->c.index))
        engine_rollback(k->c.engine);
    return r;
}

void keeper_tick(struct keeper *k, bool idle)
{
    if (!idle)
        keeper_busy(k);
    else if (k->idle < IDLE_S)
        k->idle++;
    if (may_run(k) && !k->timer.set)
        again(k, 0);
}

void keeper_busy(struct keeper *k)
{
    k->idle = 0;
    if (!k->forced)
        k->stop = true;
}

bool keeper_hold(struct keeper *k)
{
    k->held = true;
    k->stop = true;
    return !k->running;
}

void keeper_let_go(struct keeper *k)
{
    k->held = false;
    again(k, 0);
}

uint64_t keeper_run(struct keeper *k)
{
    uint64_t pass = k->passes + (k->step && !k->light ? 2 : 1);
    k->wanted = pass > k->wanted ? pass : k->wanted;
    k->forced = true;
    if (!k->running)
        again(k, 0);
    return pass;
}

uint64_t keeper_passes(const struct keeper *k) { return k->passes; }
const char *keeper_failure(const struct keeper *k) { return k->failure[0] ? k->failure : NULL; }

#define DAY_MS (24ull * 60 * 60 * 1000)
static uint64_t before_days(const struct keeper *k, uint64_t days)
{
    uint64_t age = days * DAY_MS, now = engine_aged(k->c.engine);
    return now < age ? 0 : now - age;
}

static uint64_t floor_days(const struct keeper *k) { return k->c.group ? policy_number(k->c.group, "history.min_days") : 0; }

uint64_t keeper_days(const struct keeper *k)
{
    uint64_t floor = floor_days(k);
    return k->c.days > floor ? k->c.days : floor;
}

uint64_t keeper_horizon(const struct keeper *k) { return before_days(k, keeper_days(k)); }
uint64_t keeper_floor(const struct keeper *k)
{
    uint64_t floor = floor_days(k);
    return floor ? before_days(k, floor) : KEPT_ALIVE - 1;
}

enum step_result keeper_age(struct keeper *k)
{
    uint64_t now = loop_now();
    int r = engine_begin(k->c.engine);
    if (r == 0) {
        engine_age(k->c.engine, loop_wall(), now - k->aged_at);
        r = keeper_commit(k, 0);
    }
    if (r < 0)
        return keeper_fail(k, err_text());
    k->aged_at = now;
    return STEP_OVER;
}

/* ---- files that are not needed any more ---- */

enum { TIDY_AFTER = 4096 };

struct remove_job { struct job job; struct keeper *k; char **names; size_t n; uint64_t *packs; size_t npacks; bool tidy; char text[160]; };

static void remove_run(struct job *job)
{
    struct remove_job *j = (struct remove_job *)job;
    const struct folder *f = j->k->c.folder;
    for (size_t i = 0; i < j->n; i++)
        if (folder_kept_remove(f, j->names[i]) < 0)
            snprintf(j->text, sizeof j->text, "%s", err_text());
    if (j->tidy)
        folder_kept_tidy(f);
    for (size_t i = 0; i < j->npacks; i++)
        if (packs_remove(folder_packs(f), j->packs[i]) < 0)
            snprintf(j->text, sizeof j->text, "%s", err_text());
}

/* What could not be removed is found again at the next start. */
static void remove_done(struct job *job)
{
    struct remove_job *j = (struct remove_job *)job;
    if (j->text[0])
        log_warn("history why=\"%s\"", j->text);
    for (size_t i = 0; i < j->n; i++)
        free(j->names[i]);
    free(j->names);
    free(j->packs);
    keeper_job_done(j->k);
    free(j);
}

int keeper_any_kept(void *arg, const struct ix_kept *row) { (void)arg, (void)row; return 1; }

/* A file that may be taken for another content too stays until that one does not need it any more either. */
static size_t drop_needed(struct keeper *k, char **names, size_t n)
{
    size_t left = 0;
    for (size_t i = 0; i < n; i++)
        if (index_kept_named(k->c.index, names[i], keeper_any_kept, NULL) == 0)
            names[left++] = names[i];
        else
            free(names[i]);
    return left;
}

void keeper_remove(struct keeper *k, char **names, size_t n, const uint64_t *packs, size_t npacks)
{
    struct remove_job *j = xcalloc(1, sizeof *j);
    n = drop_needed(k, names, n);
    *j = (struct remove_job){.job = {.run = remove_run, .done = remove_done, .slow = true}, .k = k, .names = names, .n = n,
                             .packs = xcalloc(npacks + 1, sizeof *packs), .npacks = npacks, .tidy = k->removed + n >= TIDY_AFTER};
    k->removed = j->tidy ? 0 : k->removed + n;
    if (npacks)
        memcpy(j->packs, packs, npacks * sizeof *packs);
    k->running = true;
    if (k->freeing)
        remove_done(&j->job);
    else
        pool_submit(k->c.pool, &j->job);
}

/* ---- figures ---- */

static int count_kept(void *arg, const struct ix_kept *row)
{
    struct keeper_figures *f = arg;
    f->packed += !*row->name;
    f->current += row->kept_ms == KEPT_ALIVE;
    f->kept += *row->name != '\0';
    f->kept_bytes += *row->name ? row->size : 0;
    return 0;
}

static int count_pack(void *arg, const struct ix_pack *p)
{
    struct keeper_figures *f = arg;
    f->packs++;
    f->pack_bytes += p->size;
    return 0;
}

int keeper_figures(struct keeper *k, struct keeper_figures *out)
{
    *out = k->figures;
    int r = index_kept_each(k->c.index, count_kept, out);
    return r < 0 ? r : index_pack_each(k->c.index, count_pack, out);
}

/* ---- life cycle ---- */

int keeper_new(const struct keeper_config *c, struct keeper **out)
{
    struct keeper *k = xcalloc(1, sizeof *k);
    k->c = *c;
    k->dirty = true;
    k->aged_at = loop_now();
    keeper_alone_init(k);
    k->refs = (struct buf)BUF_INIT((size_t)LIMIT_BLOCKS * BLOCK_REF);
    *out = k;
    return 0;
}

void keeper_stop(struct keeper *k)
{
    if (!k)
        return;
    k->freeing = true;
    k->stop = true;
}

void keeper_free(struct keeper **pk)
{
    struct keeper *k = *pk;
    if (!k)
        return;
    loop_timer_clear(k->c.loop, &k->timer);
    keeper_adopt_release(k);
    keeper_gc_release(k);
    free(k);
    *pk = NULL;
}
