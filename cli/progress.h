/* progress: how fast a number that should reach 0 goes there, from looking at it now and then. Pure. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "proto/buf.h"

struct progress {
    uint64_t total;           /* the work since `left` was last 0, grown by what came in meanwhile */
    uint64_t left;
    int64_t at_ms;            /* of the last look */
    double rate;              /* per second, smoothed; 0 = not known */
    bool seen;
};

void progress_look(struct progress *p, int64_t now_ms, uint64_t left);
/* Milliseconds until 0 at this rate, -1 when there is no telling. */
int64_t progress_eta(const struct progress *p);
/* "[#####...............] 25 %, 3.0 MiB left, 1.2 MiB/s, 3 s" with a bar of `width` (0: none); nothing when nothing is left. */
void progress_put(const struct progress *p, size_t width, struct buf *to);

#endif
