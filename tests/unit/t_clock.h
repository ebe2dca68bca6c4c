/* Engines of t_engine.h whose clocks are years wrong. */
#ifndef TESTS_T_CLOCK_H
#define TESTS_T_CLOCK_H

#include "tests/unit/t_engine.h"

static inline void meet_clock(struct world *w, size_t from, size_t to)
{
    AUTO(buf_release) struct buf vec = BUF_INIT(LIMIT_BODY);
    must(engine_own_vector(w->d[from].e, w->wall, 1, &vec));
    must(engine_vector(w->d[to].e, vec.data, vec.len, NULL, NULL));
    engine_online(w->d[to].e, &w->d[from].keys->dev, true);
}

static inline int look_at_clock(struct world *w, size_t i)
{
    must(engine_begin(w->d[i].e));
    int r = engine_clock(w->d[i].e, w->wall);
    must(r);
    commit(w, i);
    return r;
}

#define YEAR_MS (365ull * 86400000)

#endif
