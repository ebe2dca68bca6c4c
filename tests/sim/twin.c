/* A device that runs on two machines at once, with one home: both write before they meet, each to peers of its own. When they have met,
 * neither signs anything until one of them has been removed. That one joins again as another device, and keeps its disk. */
#include <string.h>

#include "tests/sim/sim.h"

bool twins_talk(const struct world *w, int a, int b)
{
    int slot = w->twin.slot, of = w->twin.of, other = b == slot ? of : b == of ? slot : -1;
    return slot && other >= 0 && a != other && w->d[other].engine && !w->net.cut[a][other];
}

bool are_twins(const struct world *w, int a, int b)
{
    int slot = w->twin.slot, of = w->twin.of;
    return slot && ((a == slot && b == of) || (a == of && b == slot));
}

void twins_join(struct world *w, int a, int b)
{
    int slot = w->twin.slot, of = w->twin.of;
    if (!slot || !w->net.cut[a][b])
        return;
    for (int k = 0; k < 2; k++) {
        int peer = k ? a : b, twin = k ? b : a;
        if ((twin == slot || twin == of) && peer != slot && peer != of)
            net_cut(w, peer, twin == slot ? of : slot, true);
    }
}

static void copy(struct world *w, int from, int to)
{
    const struct device *a = &w->d[from];
    struct device *b = &w->d[to];
    index_copy(w, b->index->db, a->index->db);
    b->index->want = a->index->want;
    memcpy(b->disk.at, a->disk.at, sizeof b->disk.at);
    for (size_t k = 0; k < a->disk.nkept; k++)
        disk_keep(&b->disk, a->disk.kept[k]);
    b->clock = a->clock;
    b->lost_index = a->lost_index;
    b->turned_back = a->turned_back;
    b->doubt = a->doubt;
    group_release(&b->group);
    group_copy(&b->group, &a->group);
    b->cuts_due = a->cuts_due;
}

static void make(struct world *w, int i)
{
    int slot = w->n++;
    struct device *d = &w->d[slot];
    tell(w, "d%d: copied to d%d", i, slot);
    device_reset(w, slot);
    copy(w, i, slot);
    w->twin.slot = slot;
    w->twin.of = i;
    w->twin.keys = d->keys;
    d->keys = w->d[i].keys;
    for (int p = 0; p < w->n; p++) {
        bool here = p != i && p != slot && !w->net.cut[p][i] && chance(w, 50);
        w->net.cut[p][slot] = w->net.cut[slot][p] = true;
        if (!here)
            continue;
        net_cut(w, p, i, true);
        w->net.cut[p][slot] = w->net.cut[slot][p] = false;
    }
    device_start(w, slot);
}

static void meet(struct world *w)
{
    struct device *a = &w->d[w->twin.slot], *b = &w->d[w->twin.of];
    if (!a->engine || !b->engine)
        return;
    tell(w, "d%d, d%d: they meet", w->twin.slot, w->twin.of);
    engine_mute(a->engine);
    engine_mute(b->engine);
    a->muted = b->muted = true;
}

void twins_end(struct world *w)
{
    int slot = w->twin.slot;
    struct device *d = &w->d[slot], *other = &w->d[w->twin.of];
    if (!slot)
        return;
    tell(w, "d%d: is no twin any more", slot);
    if (d->engine)
        device_crash(w, slot);
    w->twin.slot = 0;
    d->keys = w->twin.keys;
    d->lost_index = d->doubt = true;
    d->backup.has = false;
    again_forget(w, slot);
    index_empty(w, slot);
    if (other->muted)
        engine_unmute(other->engine);
    other->muted = false;
}

void twins(struct world *w, int i)
{
    if (w->twin.slot) {
        if (chance(w, 8))
            meet(w);
        if (chance(w, 5))
            twins_end(w);
    } else if (w->n < DEVICES_MAX && chance(w, w->faults.twins)) {
        make(w, i);
    }
}
