/* t_keeper: a keeper for the folder of t_scan. */
#ifndef TESTS_UNIT_T_KEEPER_H
#define TESTS_UNIT_T_KEEPER_H

#include "node/keeper.h"
#include "node/serve.h"
#include "tests/unit/t_scan.h"

static struct keeper *keeper;
static unsigned passes, adoptions;

static inline void on_pass(void *arg) { (void)arg; passes++; }
static inline void on_adopted(void *arg) { (void)arg; adoptions++; }

static inline void keeper_start(uint64_t days, uint64_t share)
{
    if (!w.pool)
        t_must(pool_new(w.loop, 3, &w.pool));
    struct keeper_config c = {.loop = w.loop, .pool = w.pool, .folder = folder, .engine = w.e, .index = w.ix, .days = days, .share = share,
                              .group = &w.g.group,
                              .alone = true, .done = on_pass, .adopted = on_adopted};
    t_must(keeper_new(&c, &keeper));
}

static inline void keeper_end(void)
{
    if (keeper)
        keeper_stop(keeper);
    pool_free(&w.pool);
    keeper_free(&keeper);
}

static inline void fresh(uint64_t days, uint64_t share)
{
    keeper_end();
    world_begin();
    keeper_start(days, share);
}

static inline bool pass_over(void *arg) { return keeper_passes(keeper) >= *(uint64_t *)arg; }

/* Young files are read again meanwhile; a test that writes to one of them then would not be seen before a second has passed. */
static inline struct keeper_figures run_pass(void)
{
    struct keeper_figures f;
    uint64_t pass = keeper_run(keeper);
    UNTIL(w.loop, pass_over, &pass);
    OK(keeper_figures(keeper, &f));
    if (w.scan)
        settle();
    return f;
}

/* 0 when the content can be read whole, and is what its root says. */
static inline int readable(const struct id *content)
{
    struct place_of at;
    int fd = -1;
    int r = serve_find(w.ix, content, &at);
    if (r == 0)
        r = serve_gather(w.ix, &at);
    if (r == 0)
        r = serve_open(folder, &at, &fd);
    if (r == 0) {
        struct stat st;
        struct content_list c;
        CHECK(fstat(fd, &st) == 0);
        t_must(content_read(fd, (uint64_t)st.st_size, &w.gear, -1, NULL, &c));
        CHECK(id_eq(&c.root, content));
        content_list_release(&c);
        close(fd);
    }
    place_of_release(&at);
    return r;
}

#endif
