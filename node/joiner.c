#include "node/joiner_priv.h"

#include <poll.h>
#include <sodium.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "node/home.h"
#include "node/probe.h"

enum { TICK_MS = 100, PROBE_MS = 4000 };
enum { OTHER_HINT_MS = 1000 };    /* head start of those who announce our hint */
enum { SOME_SEEN_MS = 4000, SETTLE_MS = 1500, NONE_SEEN_MS = 8000 };
#define NO_INVITE "no device here waits for this code: it is wrong, used or expired: ask for a new one"

/* ---- results ---- */

void joiner_remember(struct joiner *j, int code)
{
    if (j->code == 0 || code == ERR_DENIED) {
        j->code = code;
        snprintf(j->text, sizeof j->text, "%s", err_text());
    }
}

void joiner_finish(struct joiner *j, int code)
{
    j->done = true;
    j->code = code;
    snprintf(j->text, sizeof j->text, "%s", code < 0 ? err_text() : "");
    loop_stop(j->loop);
}

/* ---- searching ---- */

static void add_try(struct joiner *j, const char *instance, const char *address, uint64_t not_before)
{
    for (unsigned i = 0; i < j->ntry; i++)
        if (strcmp(j->try[i].instance, instance) == 0 && strcmp(j->try[i].address, address) == 0) {
            if (j->try[i].due > not_before && j->try[i].state == TRY_WAITING)
                j->try[i].due = not_before;
            return;
        }
    if (j->ntry == TRIES_MAX)
        return;
    struct try *t = &j->try[j->ntry++];
    *t = (struct try){.j = j, .due = not_before};
    snprintf(t->instance, sizeof t->instance, "%s", instance);
    snprintf(t->address, sizeof t->address, "%s", address);
    try_step(t);
}

static void on_discovery(void *arg)
{
    struct joiner *j = arg;
    struct disc_event e;
    char hint[3];
    code_hint(j->q->code, hint);
    while (!j->done && discovery_next(j->discovery, &e)) {
        if (e.type != DISC_FOUND)
            continue;
        if (!j->first_seen)
            j->first_seen = loop_now();
        bool ours = strcmp(e.hint, hint) == 0;
        for (uint32_t i = 0; i < e.naddr && *e.hint; i++) {
            char address[ADDRESS_TEXT];
            address_make(e.addr[i], e.port, address);
            add_try(j, e.instance, address, ours ? 0 : j->started + OTHER_HINT_MS);
        }
    }
}

static bool trying(const struct joiner *j)
{
    for (const struct try *t = j->try; t < j->try + j->ntry; t++)
        if (t->state != TRY_OVER)
            return true;
    return false;
}

static int nobody_found(struct joiner *j)
{
    char state[256] = "";
    if (discovery_state(j->discovery, state, sizeof state) == DISC_FAILED)
        return err_set(ERR_TIMEOUT, "this device cannot search the network (%s): give the inviter's address with --at HOST:PORT", state);
    return err_set(ERR_TIMEOUT, "no device was found on this network: give the inviter's address with --at HOST:PORT");
}

/* Whether there is anything left to wait for. */
static void judge(struct joiner *j)
{
    uint64_t now = loop_now();
    if (j->done || trying(j))
        return;
    bool patient = !j->q->at && (j->first_seen ? now < j->started + SOME_SEEN_MS || now < j->first_seen + SETTLE_MS
                                               : now < j->started + NONE_SEEN_MS);
    if (patient)
        return;
    if (j->code == 0 && !j->first_seen)
        joiner_finish(j, nobody_found(j));
    else
        joiner_finish(j, j->code ? err_set(j->code, "%s", j->text) : err_set(ERR_DENIED, NO_INVITE));
}

static void on_tick(void *arg)
{
    struct joiner *j = arg;
    loop_timer_set(j->loop, &j->tick, TICK_MS, on_tick, j);
    for (unsigned i = 0; i < j->ntry && !j->done; i++)
        try_step(&j->try[i]);
    if (!j->done)
        judge(j);
}

static int start_search(struct joiner *j)
{
    struct discovery_config c = {0};
    int r = discovery_start(&c, &j->discovery);
    if (r == 0)
        loop_add_fd(j->loop, discovery_fd(j->discovery), POLLIN, on_discovery, j);
    return r;
}

/* Says at once what ZeroMQ would never say: that nobody listens there. */
static int start_at(struct joiner *j)
{
    const char *at = j->q->at;
    char join[ADDRESS_TEXT], numeric[ADDRESS_TEXT];
    int r = address_port(at, JOIN_OFFSET, join);
    if (r < 0)
        return r;
    r = probe(join, PROBE_MS, numeric);
    if (r == ERR_CLOSED && probe(at, PROBE_MS, numeric) == 0)
        return err_set(ERR_DENIED, "no invite is open at %s: the code is wrong, used or expired: ask for a new one", at);
    if (r == ERR_CLOSED || r == ERR_TIMEOUT)
        return err_set(ERR_TIMEOUT, "nobody answers at %s: is that the address of its ready line, and is it running?", at);
    if (r < 0)
        return r;
    char request[ADDRESS_TEXT];
    r = address_port(numeric, -JOIN_OFFSET, request);
    if (r == 0)
        add_try(j, "", request, 0);
    return r;
}

/* ---- life cycle ---- */

static struct joiner *of_stretch(struct job *job) { return (struct joiner *)((char *)job - offsetof(struct joiner, stretch)); }

static void stretch_run(struct job *job)
{
    struct joiner *j = of_stretch(job);
    j->stretch_code = code_stretch(j->q->code, j->prs);
}

static void stretch_done(struct job *job)
{
    struct joiner *j = of_stretch(job);
    if (j->done)
        return;
    j->stretched = j->stretch_code == 0;
    if (!j->stretched)
        joiner_finish(j, err_set(j->stretch_code, "no memory to stretch the code"));
    for (unsigned i = 0; i < j->ntry && !j->done; i++)
        if (j->try[i].state == TRY_CONNECTED)
            try_step(&j->try[i]);
}

static int make_card(struct joiner *j)
{
    j->keys = device_keys_new();
    struct card c = {.dev = j->keys->dev, .created_ms = loop_wall()};
    memcpy(c.tr_pk, j->keys->tr_pk, sizeof c.tr_pk);
    snprintf(c.name, sizeof c.name, "%s", j->q->name);
    return card_encode(&j->card, &c, j->keys);
}

static int start(struct joiner *j)
{
    int r = loop_new(&j->loop);
    if (r == 0)
        r = make_card(j);
    if (r == 0)
        r = pool_new(j->loop, 2, &j->pool);
    if (r < 0)
        return r;
    j->zmq = zmq_ctx_new();
    if (!j->zmq || zmq_has("curve") != 1)
        return err_set(ERR_IO, "libzmq cannot be used here: install Debian's libzmq5");
    j->stretch = (struct job){.run = stretch_run, .done = stretch_done};
    pool_submit(j->pool, &j->stretch);
    loop_timer_set(j->loop, &j->tick, TICK_MS, on_tick, j);
    return j->q->at ? start_at(j) : start_search(j);
}

static void release(struct joiner *j)
{
    if (j->discovery) {
        loop_del_fd(j->loop, discovery_fd(j->discovery));
        discovery_stop(&j->discovery);
    }
    j->done = true;
    if (j->pool)
        pool_free(&j->pool);
    for (unsigned i = 0; i < j->ntry; i++)
        try_close(&j->try[i]);
    if (j->zmq)
        zmq_ctx_term(j->zmq);
    if (j->keys)
        device_keys_free(&j->keys);
    buf_release(&j->card);
    if (j->loop)
        loop_free(&j->loop);
    sodium_free(j);
}

int joiner_run(const struct joiner_request *q)
{
    int r = home_vacant(q->home);
    if (r < 0)
        return r;
    struct joiner *j = sodium_malloc(sizeof *j);           /* it holds what the code becomes */
    if (!j)
        return err_set(ERR_FULL, "no memory for joining");
    memset(j, 0, sizeof *j);
    j->q = q;
    j->started = loop_now();
    j->card = (struct buf)BUF_INIT(LIMIT_HEAD);
    r = start(j);
    if (r == 0)
        r = loop_run(j->loop);
    if (r == 0 && j->code < 0)
        r = err_set(j->code, "%s", j->text);
    AUTOFREE char *text = xstrdup(err_text());
    release(j);
    return r < 0 ? err_set(r, "%s", text) : 0;
}
