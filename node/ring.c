#include "node/ring.h"

#include <string.h>

#define PARTS 4                 /* of the ring; of the first of them; and so on */

static uint64_t first_bytes(const struct id *id)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | id->b[i];
    return v;
}

/* From one place to another, forwards. */
static uint64_t way(const struct id *from, const struct id *to) { return first_bytes(to) - first_bytes(from); }

static uint64_t lot(const struct id *self, const struct id *dev, uint64_t draw)
{
    struct { struct id self, dev; uint64_t draw; } all = {*self, *dev, draw};
    struct id hash = id_hash(&all, sizeof all);
    return first_bytes(&hash);
}

static void choose_next(const struct id *self, const struct id *dev, size_t n, bool backwards, bool *chosen)
{
    size_t best = n;
    uint64_t least = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t w = backwards ? way(&dev[i], self) : way(self, &dev[i]);
        if (!chosen[i] && (best == n || w < least)) {
            best = i;
            least = w;
        }
    }
    if (best < n)
        chosen[best] = true;
}

/* By lot, of those at least `from` and at most `to` away. */
static void choose_within(const struct id *self, const struct id *dev, size_t n, uint64_t from, uint64_t to, uint64_t draw, bool *chosen)
{
    size_t best = n;
    uint64_t least = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t w = way(self, &dev[i]);
        if (chosen[i] || w < from || w > to)
            continue;
        uint64_t l = lot(self, &dev[i], draw);
        if (best == n || l < least) {
            best = i;
            least = l;
        }
    }
    if (best < n)
        chosen[best] = true;
}

void ring_choose(const struct id *self, const struct id *dev, size_t n, uint64_t draw, bool *chosen)
{
    memset(chosen, 0, n * sizeof *chosen);
    for (unsigned k = 0; k < RING_BESIDE; k++) {
        choose_next(self, dev, n, false, chosen);
        choose_next(self, dev, n, true, chosen);
    }
    uint64_t to = UINT64_MAX / PARTS;
    for (size_t left = n / PARTS; left > 2 * RING_BESIDE; left /= PARTS) {
        uint64_t from = to / PARTS + 1;
        choose_within(self, dev, n, from, to, 0, chosen);
        to = from - 1;
    }
    choose_within(self, dev, n, 0, UINT64_MAX, draw, chosen);
}
