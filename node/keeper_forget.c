/* Forgetting what the index knows of versions that have ended, when their contents have gone. */
#include "node/keeper_priv.h"

enum step_result keeper_forget(struct keeper *k)
{
    uint64_t before = keeper_horizon(k), n = 0;
    struct engine *e = k->c.engine;
    if (!before)
        return STEP_OVER;
    int r = engine_begin(e);
    if (r == 0 && engine_vectors_unsaved(e))
        r = engine_save_vectors(e);
    if (r == 0)
        r = engine_forget_old(e, before, &k->forgotten_to, &n);
    r = keeper_commit(k, r);
    if (r < 0)
        return keeper_fail(k, err_text());
    k->figures.forgotten += n;
    return k->forgotten_to ? STEP_AGAIN : STEP_OVER;
}
