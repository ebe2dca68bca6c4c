#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

enum { ROUNDS_MAX = 300, MESSAGES_MAX = 100000 };

/* splitmix64 (Steele, Lea, Flood 2014) */
uint64_t sim_rand(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t pick(struct world *w, uint64_t n) { return sim_rand(&w->rand) % n; }
bool chance(struct world *w, unsigned percent) { return pick(w, 100) < percent; }

void tell(const struct world *w, const char *format, ...)
{
    va_list args;
    if (!w->trace)
        return;
    va_start(args, format);
    printf("# %7llu ", (unsigned long long)(w->now - START_MS));
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

void fail(const struct world *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("# seed %llu: ", (unsigned long long)w->seed);
    vprintf(format, args);
    printf("\n# again: tests/sim/sim --seed %llu%s%s --trace\n", (unsigned long long)w->seed, mutant ? " --mutant " : "",
           mutant ? mutant_name[mutant] : "");
    va_end(args);
    fflush(stdout);
    _Exit(1);
}

/* ---- keys and group ---- */

static void add_member(struct world *w, int i)
{
    AUTO(buf_release) struct buf card = BUF_INIT(4096), rec = BUF_INIT(65536);
    const struct device_keys *k = w->d[i].keys, *owner = w->d[0].keys;
    struct card c = {.dev = k->dev, .created_ms = 1};
    memcpy(c.tr_pk, k->tr_pk, sizeof c.tr_pk);
    snprintf(c.name, sizeof c.name, "d%d", i);
    MUST(card_encode(&card, &c, k));
    if (i == 0) {
        MUST(genesis_encode(&rec, &(struct bytes){card.data, card.len}, 1, k));
        MUST(group_init(&w->group, rec.data, rec.len));
        return;
    }
    static const uint8_t sealed[SEALED_KEYS];
    struct ctl_op op = {.type = OP_ADD, .card = {card.data, card.len}, .role = i < ADMINS ? ROLE_ADMIN : ROLE_MEMBER, .sealed = {sealed, sizeof sealed}};
    struct ctl ctl = {.group = w->group.id, .prev = w->group.ctl_hash, .signer = owner->dev, .n = w->group.ctl_n + 1, .ts_ms = 1}, back;
    MUST(ctl_encode(&rec, &ctl, &op, 1, owner));
    MUST(ctl_decode(rec.data, rec.len, &back));
    MUST(group_apply(&w->group, &back));
}

void world_init(struct world *w)
{
    again_watch(w);
    for (int i = 0; i < DEVICES_MAX; i++) {
        w->d[i].keys = device_keys_new();
        add_member(w, i);
    }
    for (int i = 0; i < DEVICES_MAX; i++)
        MUST(index_open(":memory:", &w->group.id, false, &w->d[i].index));
}

void world_release(struct world *w)
{
    for (int i = 0; i < DEVICES_MAX; i++) {
        device_keys_free(&w->d[i].keys);
        index_close(&w->d[i].index);
        sqlite3_close(w->d[i].backup.db);
        group_release(&w->d[i].group);
        free(w->d[i].disk.kept);
    }
    free(w->net.v);
    group_release(&w->group);
}

/* ---- faults ---- */

static void choose_liar(struct world *w)
{
    bool lies = chance(w, 30);
    w->liar = (int)pick(w, (uint64_t)w->n);
    w->faults.lies = lies && mutant != MUTANT_FORGET_EARLY ? 20 + (unsigned)pick(w, 80) : 0;
}

/* In every sixth schedule; half of them with nothing else by which streams end. */
static void choose_revocations(struct world *w)
{
    w->faults.revoke = w->seed % 6 == 5 ? 2 + (unsigned)pick(w, 8) : 0;
    if (w->faults.revoke && chance(w, 50))
        w->faults.clock = w->faults.index_lost = w->faults.index_restored = w->faults.all_restored = w->faults.twins = w->faults.lies = 0;
}

/* In every sixth schedule, too. What a device was locked for may be lost with its index, so there are no such accidents then. */
static void choose_requirements(struct world *w)
{
    w->faults.require = w->seed % 6 == 2 ? 3 + (unsigned)pick(w, 8) : 0;
    if (w->faults.require)
        w->faults.index_lost = w->faults.index_restored = w->faults.all_restored = w->faults.twins = w->faults.lies = 0;
}

static void choose_faults(struct world *w)
{
    unsigned *f[] = {&w->faults.drop, &w->faults.duplicate, &w->faults.reorder, &w->faults.partition, &w->faults.crash, &w->faults.disk,
                     &w->faults.clock, &w->faults.index_lost, &w->faults.index_restored, &w->faults.all_restored, &w->faults.twins, &w->faults.forget};
    static const unsigned most[] = {30, 20, 100, 8, 4, 4, 8, 2, 6, 6, 4, 15};
    for (size_t i = 0; i < sizeof f / sizeof *f; i++)
        *f[i] = chance(w, 60) ? 1 + (unsigned)pick(w, most[i]) : 0;
    choose_liar(w);
    if (mutant == MUTANT_FORGET_EARLY) {
        w->faults.index_lost = w->faults.index_restored = w->faults.all_restored = w->faults.twins = 0;
        w->faults.forget = 15;
    }
    choose_revocations(w);
    choose_requirements(w);
}

bool crashes_here(struct world *w, int i, const char *where)
{
    if (w->quiet || !chance(w, w->faults.crash))
        return false;
    tell(w, "d%d: killed %s", i, where);
    device_crash(w, i);
    return true;
}

bool disk_fails_here(struct world *w, int i, const char *where)
{
    if (w->quiet || !chance(w, w->faults.disk))
        return false;
    tell(w, "d%d: disk fails %s", i, where);
    return true;
}

#define TEN_YEARS_MS (10ull * 365 * 86400000)
static void turn_clock(struct world *w, int i)
{
    int64_t *c = &w->d[i].clock, was = *c;
    *c = (int64_t)pick(w, 480000) - 240000;
    if (chance(w, 20))
        *c = -(int64_t)pick(w, TEN_YEARS_MS);
    else if (chance(w, 20))
        *c = (int64_t)pick(w, TEN_YEARS_MS);
    w->d[i].turned_back |= *c < was;
}

static void some_fault(struct world *w, int i)
{
    int j = (int)pick(w, (uint64_t)w->n);
    if (chance(w, w->faults.partition) && !are_twins(w, i, j)) {
        tell(w, "d%d - d%d: %s", i, j, w->net.cut[i][j] ? "joined" : "cut");
        twins_join(w, i, j);
        net_cut(w, i, j, !w->net.cut[i][j]);
    }
    if (chance(w, w->faults.clock))
        turn_clock(w, i);
    accidents(w, i);
    twins(w, i);
    if (w->d[i].engine)
        crashes_here(w, i, "while idle");
}

/* ---- a schedule ---- */

static void some_messages(struct world *w)
{
    for (uint64_t k = pick(w, 6); k > 0 && w->net.n; k--) {
        size_t i = chance(w, w->faults.reorder) ? pick(w, w->net.n) : 0;
        if (chance(w, w->faults.drop))
            net_lose(w, i);
        else
            net_deliver(w, i);
    }
}

static void step(struct world *w)
{
    int i = (int)pick(w, (uint64_t)w->n);
    unsigned what = (unsigned)pick(w, 100);
    w->now += pick(w, 3000);
    some_fault(w, i);
    admin_acts(w);
    some_messages(w);
    if (w->d[i].engine && w->d[i].cuts_due)
        device_cuts(w, i);
    if (w->d[i].engine && chance(w, w->faults.forget))
        device_forget(w, i);
    if (w->d[i].engine && w->faults.require)
        require_acts(w, i);
    if (what < 30) {
        user_acts(w, i);
    } else if (!w->d[i].engine) {
        if (what < 60)
            device_start(w, i);
    } else if (!device_clock(w, i)) {
        return;
    } else if (what < 55) {
        device_look(w, i, what < 45);
    } else if (what < 75) {
        device_ask(w, i);
    } else if (what < 92) {
        device_place(w, i);
    } else if (what < 95) {
        device_time_out(w, i);
    } else if (what < 98) {
        device_publish(w, i);
    } else {
        device_resolve(w, i);
    }
}

static void heal(struct world *w)
{
    tell(w, "healed");
    w->quiet = true;
    w->now += 3600000;
    twins_end(w);
    for (int i = 0; i < w->n; i++) {
        w->d[i].turned_back |= w->d[i].clock > 0;
        w->d[i].clock = 0;
        if (!w->d[i].engine)
            device_start(w, i);
        for (int j = 0; j < i; j++)
            net_cut(w, i, j, false);
    }
    admin_heals(w);
    for (int i = 0; i < w->n; i++) {
        device_time_out(w, i);
        device_publish(w, i);
    }
}

/* Everybody does all he can. */
static void round_of_all(struct world *w)
{
    w->now += 60000;
    for (int i = 0; i < w->n; i++) {
        w->progress |= !device_clock(w, i);
        device_look(w, i, true);
        engine_forgive(w->d[i].engine);
        device_tell_forks(w, i);
        device_audit(w, i);
        device_ask(w, i);
        device_place(w, i);
        device_lock(w, i);
        device_accept(w, i);
    }
    for (size_t k = 0; w->net.n; k++) {
        if (k == MESSAGES_MAX)
            fail(w, "the devices never stop talking");
        net_deliver(w, 0);
    }
}

static void settle(struct world *w)
{
    int still = 0;
    for (int k = 0; still < 2; k++) {
        if (k == ROUNDS_MAX)
            fail(w, "the devices never come to rest");
        w->progress = false;
        round_of_all(w);
        still = w->progress ? 0 : still + 1;
    }
}

static void set_up(struct world *w, uint64_t seed)
{
    w->seed = w->rand = seed;
    w->now = START_MS;
    w->tick = w->batch = w->contents = 0;
    w->n = chance(w, 60) ? 3 : 2 + (int)pick(w, DEVICES_MAX - 1);
    w->quiet = false;
    w->model.n = 0;
    w->nsplit = w->nwithdrawn = 0;
    w->twin.slot = 0;
    memset(w->net.cut, 0, sizeof w->net.cut);
    choose_faults(w);
    for (int i = 0; i < w->n; i++)
        device_reset(w, i);
    for (int i = 0; i < w->n; i++)
        device_start(w, i);
}

void world_run(struct world *w, uint64_t seed)
{
    set_up(w, seed);
    for (uint64_t steps = 30 + pick(w, 170); steps > 0; steps--)
        step(w);
    heal(w);
    settle(w);
    judge(w);
    for (int i = 0; i < w->n; i++)
        engine_free(&w->d[i].engine);
    admin_ends(w);
    while (w->net.n)
        net_lose(w, 0);
}
