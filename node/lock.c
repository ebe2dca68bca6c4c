#include "node/lock.h"

#include "node/api.h"
#include "node/log.h"
#include "node/node_priv.h"

#define GAP_MS 20                         /* between two looks: a hundred vectors may come at once */

static bool holds(enum lock_state s) { return s == LOCK_LOCKED || s == LOCK_WAITS; }

bool lock_holds(const struct node *n) { return holds(n->lock_state); }

static const char *name_of(const struct node *n, const struct id *dev)
{
    const struct member *m = group_find(control_group(n->home->control), dev);
    return m ? m->card.name : "?";
}

int need_unlocked(struct node *n)
{
    const struct requirement *q = group_required_of(control_group(n->home->control), &n->home->keys->dev);
    if (!lock_holds(n) || !q)
        return 0;
    return err_set(ERR_LOCKED, "%s requires another version first%s%s: `lanyard gate` shows how far it is", name_of(n, &q->what->by),
                   q->what->message[0] ? ": " : "", q->what->message);
}

bool lock_allows(struct node *n, int64_t stream, uint64_t seq)
{
    return !lock_holds(n) || (n->lock_state == LOCK_LOCKED && engine_is_required(n->engine, stream, seq));
}

/* ---- from one state to the next ---- */

static void tell(struct node *n, const struct engine_lock *l, enum lock_state was)
{
    static const char *const words[] = {[LOCK_NONE] = "ended", [LOCK_REACHED] = "reached", [LOCK_BEHIND] = "nobody has it", [LOCK_OVERRIDDEN] = "overridden"};
    const struct required *q = l->what ? l->what->what : NULL;
    const char *by = q ? name_of(n, &q->by) : "?", *message = q ? q->message : "";
    if (holds(l->state) && !holds(was)) {
        log_info("locked by=%s message=\"%s\"", by, message);
        node_event(n, "locked", "by", by, "message", message, NULL);
    } else if (!holds(l->state) && holds(was)) {
        log_info("unlocked why=\"%s\"", words[l->state]);
        node_event(n, "unlocked", "by", by, "message", message, "reason", words[l->state], NULL);
    }
}

static void look(void *arg)
{
    struct node *n = arg;
    struct engine_lock l;
    enum lock_state was = n->lock_state;
    int r = engine_lock_look(n->engine, loop_wall(), loop_now());
    bool news = r > 0;
    if (r >= 0)
        r = engine_lock(n->engine, &l);
    if (r < 0) {
        log_seldom(LOG_WARN, "required version: %s", err_text());
        return;
    }
    n->lock_state = l.state;
    if (was != l.state) {
        tell(n, &l, was);
        api_locked(n->api);
        if (n->pull)
            pull_choose_anew(n->pull);
    }
    if (news)
        node_committed(n);
}

void lock_now(struct node *n) { look(n); }

void lock_poll(struct node *n)
{
    if (!n->lock_timer.set)
        loop_timer_set(n->loop, &n->lock_timer, GAP_MS, look, n);
}

void lock_start(struct node *n) { look(n); }

int lock_accept(struct node *n)
{
    int r = engine_lock_accept(n->engine, loop_wall());
    if (r == 0)
        look(n);
    return r;
}
