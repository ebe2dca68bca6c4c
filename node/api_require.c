/* A required version: declared, shown, taken back; and what a device that has to reach it says of itself. */
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "node/announce.h"
#include "node/api_priv.h"
#include "node/lock.h"
#include "node/node_priv.h"
#include "node/proof.h"
#include "proto/policy.h"

/* ---- what is shown ---- */

static void put_hex(struct buf *b, const char *key, const uint8_t id[static 16])
{
    char hex[2 * 16 + 1];
    put_text(b, key, sodium_bin2hex(hex, sizeof hex, id, 16));
}

static void put_facts(struct buf *b, struct node *n, const struct requirement *q)
{
    put_hex(b, "id", q->what->id);
    put_text(b, "by", member_name(n, &q->what->by));
    put_text(b, "message", q->what->message);
    put_time(b, "since", q->what->ts_ms);
    put_time(b, "until", q->what->until_ms);
    put_text(b, "mode", require_mode_name(q->what->mode));
}

void put_required(struct buf *b, struct node *n)
{
    const struct requirement *q = group_required_of(node_group(n), &n->home->keys->dev);
    mp_put_str(b, "required");
    if (!q || required_is_over(q, loop_wall())) {
        mp_put_nil(b);
        return;
    }
    mp_put_map(b, 7);
    put_facts(b, n, q);
    put_bool(b, "reached", n->lock_state == LOCK_REACHED);
}

/* "locked" covers the device that waits for its user; "behind" the one that went on without, or that nobody can help now. */
static const char *state_name(bool known, enum lock_state s)
{
    if (!known)
        return "unknown";
    return s == LOCK_REACHED ? "reached" : lock_state_holds(s) ? "locked" : "behind";
}

static void put_device_state(struct buf *b, struct node *n, const struct required *q, const struct member *m)
{
    struct peer_lock l;
    bool self = id_eq(&m->card.dev, &n->home->keys->dev), known = engine_lock_of(n->engine, q, &m->card.dev, &l);
    mp_put_map(b, 9);
    put_text(b, "name", m->card.name);
    put_id(b, "id", &m->card.dev);
    put_bool(b, "online", self || node_online(n, &m->card.dev));
    put_text(b, "state", state_name(known, l.state));
    put_time(b, "since", l.since_ms);
    put_bool(b, "waits", l.state == LOCK_WAITS);
    put_bool(b, "overridden", l.state == LOCK_OVERRIDDEN);
    put_bool(b, "partial", l.partial);
    put_time(b, "signed", proof_signed_ms(n->proof, q->id, &m->card.dev));
}

static bool counts(const struct required *q, const struct member *m) { return !m->revoked && required_is_for(q, &m->card.dev); }

static void put_requirement(struct buf *b, struct node *n, const struct requirement *q)
{
    const struct group *g = node_group(n);
    size_t devices = 0;
    for (size_t i = 0; i < g->nmember; i++)
        devices += counts(q->what, &g->member[i]);
    mp_put_map(b, 9);
    put_facts(b, n, q);
    put_bool(b, "over", required_is_over(q, loop_wall()));
    put_bool(b, "provable", engine_provable(n->engine, q->what));
    mp_put_str(b, "devices");
    mp_put_array(b, devices);
    for (size_t i = 0; i < g->nmember; i++)
        if (counts(q->what, &g->member[i]))
            put_device_state(b, n, q->what, &g->member[i]);
}

/* ---- which one ---- */

/* By the beginning of its id; without one the latest that is not over; *out NULL: there is none. */
static int find_requirement(struct node *n, const char *text, const struct requirement **out)
{
    const struct group *g = node_group(n);
    *out = NULL;
    for (size_t i = g->nrequirement; i > 0 && !*out; i--) {
        const struct requirement *q = &g->requirement[i - 1];
        char hex[2 * 16 + 1];
        sodium_bin2hex(hex, sizeof hex, q->what->id, 16);
        if (text ? strlen(text) >= 4 && strncmp(hex, text, strlen(text)) == 0 : !required_is_over(q, loop_wall()))
            *out = q;
    }
    return text && !*out ? err_set(ERR_NOTFOUND, "there is no required version %s: `lanyard require status` shows the present one", text) : 0;
}

static int answer(struct session *s, const struct requirement *q)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    if (q)
        put_requirement(&b, s->n, q);
    session_reply(s, false, q ? &b : NULL);
    return 0;
}

/* ---- waiting until all have reached it ---- */

/* The beginning of a random id names it for as long as somebody waits. (What is in s->data would keep the node from its work when idle.) */
static uint64_t short_id(const struct requirement *q)
{
    uint64_t v;
    memcpy(&v, q->what->id, sizeof v);
    return v;
}

static const struct requirement *awaited(const struct session *s)
{
    const struct group *g = node_group(s->n);
    for (size_t i = 0; i < g->nrequirement; i++)
        if (short_id(&g->requirement[i]) == s->number)
            return &g->requirement[i];
    return NULL;
}

struct turnout { size_t devices, reached; };
static struct turnout turnout(struct node *n, const struct required *q)
{
    const struct group *g = node_group(n);
    struct turnout t = {0};
    for (size_t i = 0; i < g->nmember; i++) {
        struct peer_lock l;
        if (!counts(q, &g->member[i]))
            continue;
        t.devices++;
        t.reached += engine_lock_of(n->engine, q, &g->member[i].card.dev, &l) && l.state == LOCK_REACHED;
    }
    return t;
}

static int check_all(struct session *s)
{
    struct node *n = s->n;
    const struct requirement *q = awaited(s);
    if (!q)
        return err_set(ERR_NOTFOUND, "newer required versions have taken its place");
    struct turnout t = turnout(n, q->what);
    if (t.reached == t.devices)
        return answer(s, q);
    if (q->cancelled_ms)
        return err_set(ERR_CLOSED, "%s has cancelled it: %zu of %zu devices have reached it", member_name(n, &q->cancelled_by), t.reached, t.devices);
    if (required_is_over(q, loop_wall()))
        return err_set(ERR_CLOSED, "its time is over: %zu of %zu devices have reached it", t.reached, t.devices);
    return 0;
}

static void late_all(struct session *s)
{
    AUTO(buf_release) struct buf text = BUF_INIT(LIMIT_TEXT);
    const struct requirement *q = awaited(s);
    struct turnout t = q ? turnout(s->n, q->what) : (struct turnout){0};
    buf_addf(&text, "%zu of %zu devices have reached it: `lanyard require status` shows which%c", t.reached, t.devices, '\0');
    session_fail(s, EXIT_TIMED_OUT, (const char *)text.data);
}

static int wait_for_all(struct session *s, const struct requirement *q, uint64_t timeout_ms)
{
    if (s->release)
        s->release(s->data);
    s->release = NULL;
    s->data = NULL;
    s->number = short_id(q);
    session_wait(s, check_all, timeout_ms, timeout_ms == NO_LIMIT ? NULL : late_all);
    return 0;
}

static int arg_wait(const struct bytes *args, bool *wait, uint64_t *timeout_ms)
{
    *timeout_ms = NO_LIMIT;
    int r = arg_bool(args, "wait", wait);
    return r < 0 ? r : arg_u64(args, "timeout_ms", timeout_ms);
}

static int run_standing(struct session *s, const struct requirement *q, const struct bytes *args)
{
    bool wait = false;
    uint64_t timeout_ms;
    int r = arg_wait(args, &wait, &timeout_ms);
    if (r < 0)
        return r;
    return wait && q ? wait_for_all(s, q, timeout_ms) : answer(s, q);
}

/* ---- declaring it ---- */

struct wish { char *message, *mode, *to; uint64_t until_ms; bool dry_run, wait; uint64_t timeout_ms; };

static void wish_free(void *data)
{
    struct wish *w = data;
    free(w->message);
    free(w->mode);
    free(w->to);
    free(w);
}

static int parse_mode(const char *text, enum require_mode *mode)
{
    *mode = REQUIRE_AUTO;
    for (enum require_mode m = REQUIRE_PROMPT; text && m <= REQUIRE_STRICT; m++)
        if (strcmp(text, require_mode_name(m)) == 0) {
            *mode = m;
            return 0;
        }
    return text ? err_set(ERR_USAGE, "--mode: there is no mode %s: choose prompt, auto or strict", text) : 0;
}

static int by_id(const void *a, const void *b) { return id_cmp(a, b); }

/* Names, a line each. Empty: all devices. */
static int parse_to(struct node *n, const char *text, struct buf *to)
{
    AUTOFREE char *list = xstrdup(text ? text : "");
    AUTOFREE struct id *dev = xcalloc(strlen(list) + 1, sizeof *dev);
    size_t k = 0;
    char *save = NULL;
    for (char *name = strtok_r(list, "\n", &save); name; name = strtok_r(NULL, "\n", &save)) {
        const struct member *m;
        int r = find_device(n, name, &m);
        if (r < 0)
            return r;
        dev[k++] = m->card.dev;
    }
    qsort(dev, k, sizeof *dev, by_id);
    size_t kept = 0;
    for (size_t i = 0; i < k; i++)
        if (i == 0 || !id_eq(&dev[i], &dev[kept - 1]))
            dev[kept++] = dev[i];
    mp_put_array(to, kept);
    for (size_t i = 0; i < kept; i++)
        mp_put_bin(to, dev[i].b, ID_LEN);
    return 0;
}

static int check_wish(struct node *n, const struct wish *w, struct ctl_op *op, struct buf *to)
{
    int r = need_admin(n);
    if (r == 0)
        r = parse_mode(w->mode, &op->mode);
    if (r == 0 && !policy_allows(node_group(n), op->mode))
        r = err_set(ERR_DENIED, "--mode: the policy of the group does not allow %s: `lanyard policy get require.modes` shows what it allows",
                    require_mode_name(op->mode));
    if (r == 0)
        r = parse_to(n, w->to, to);
    if (r == 0 && w->until_ms && w->until_ms <= loop_wall())
        return err_set(ERR_BAD, "--until: this time is past already: nobody could reach it in time");
    if (r == 0 && w->message && strlen(w->message) > LIMIT_TEXT)
        return err_set(ERR_USAGE, "--message: longer than %u bytes", LIMIT_TEXT);
    op->type = OP_REQUIRE;
    op->until_ms = w->until_ms;
    op->text = (struct bytes){(const uint8_t *)w->message, w->message ? strlen(w->message) : 0};
    op->to = (struct bytes){to->data, to->len};
    return r;
}

/* What is dated in the future is taken back when the clock is right: nobody could reach it. And `until` would be another time elsewhere. */
static int check_clock(struct node *n)
{
    uint64_t off = engine_clock_off(n->engine, loop_wall());
    return !off ? 0 : err_set(ERR_AGAIN, "the clock of this device differs from that of most others by %" PRIu64 " minutes: set the clocks, then "
                              "require it again", off / 60000);
}

/* All that this device has is in its index now. */
static int declare(struct session *s)
{
    struct node *n = s->n;
    const struct wish *w = s->data;
    announce_release(n);
    AUTO(buf_release) struct buf to = BUF_INIT(LIMIT_CTL_BYTES), min = BUF_INIT(LIMIT_CTL_BYTES);
    struct ctl_op op = {.type = OP_REQUIRE};
    int r = check_wish(n, w, &op, &to);
    if (r == 0 && !w->dry_run)
        r = check_clock(n);
    if (r == 0)
        r = engine_required_min(n->engine, &min);
    if (r < 0)
        return r;
    randombytes_buf(op.require_id, sizeof op.require_id);
    op.cuts = (struct bytes){min.data, min.len};
    if (w->dry_run)
        return require_plan(s, &op.to, &op.cuts);
    if ((r = control_issue(n, &op, 1)) < 0)
        return r;
    const struct requirement *q = group_requirement(node_group(n), op.require_id);
    return w->wait ? wait_for_all(s, q, w->timeout_ms) : answer(s, q);
}

static int check_looked(struct session *s)
{
    int r = need_folder(s->n);
    return r < 0 ? r : scan_idle(s->n->scan) ? declare(s) : 0;
}

static int run_create(struct session *s, const struct bytes *args)
{
    struct wish *w = xcalloc(1, sizeof *w);
    AUTO(buf_release) struct buf to = BUF_INIT(LIMIT_CTL_BYTES);
    struct ctl_op op = {.type = OP_REQUIRE};
    s->data = w;
    s->release = wish_free;
    int r = arg_text(args, "message", &w->message);
    if (r == 0)
        r = arg_text(args, "mode", &w->mode);
    if (r == 0)
        r = arg_text(args, "to", &w->to);
    if (r == 0)
        r = arg_u64(args, "until_ms", &w->until_ms);
    if (r == 0)
        r = arg_bool(args, "dry_run", &w->dry_run);
    if (r == 0)
        r = arg_wait(args, &w->wait, &w->timeout_ms);
    if (r == 0)
        r = check_wish(s->n, w, &op, &to);
    if (r == 0)
        r = need_folder(s->n);
    if (r < 0)
        return r;
    scan_all(s->n->scan);                /* what was saved just now belongs to it */
    announce_hold(s->n);                 /* nobody is to fetch before he hears that it is required: he would lock late */
    session_wait(s, check_looked, NO_LIMIT, NULL);
    return 0;
}

/* ---- the others ---- */

static int run_cancel(struct session *s, const struct requirement *q)
{
    struct ctl_op op = {.type = OP_CANCEL};
    int r = need_admin(s->n);
    if (r == 0 && !q)
        return err_set(ERR_NOTFOUND, "no version is required now");
    if (r == 0 && q->cancelled_ms)
        return err_set(ERR_EXISTS, "it was cancelled already by %s", member_name(s->n, &q->cancelled_by));
    if (r < 0)
        return r;
    memcpy(op.require_id, q->what->id, sizeof op.require_id);
    r = control_issue(s->n, &op, 1);
    if (r == 0)
        session_reply(s, false, NULL);
    return r;
}

static int run_export(struct session *s, const struct requirement *q)
{
    AUTO(buf_release) struct buf file = BUF_INIT(LIMIT_CTL_REPLY), b = BUF_INIT(LIMIT_CTL_REPLY);
    struct node *n = s->n;
    int r = need_admin(n);
    if (r == 0 && !q)
        return err_set(ERR_NOTFOUND, "no version is required now: name the requirement by its id");
    if (r == 0 && proof_unsaved(n->proof))
        r = proof_save(n->proof, loop_wall());       /* with the receipts that have just come */
    if (r == 0)
        r = proof_export(n->proof, q->what->id, &file);
    if (r < 0)
        return r;
    mp_put_bin(&b, file.data, file.len);
    session_reply(s, false, &b);
    return 0;
}

int run_require(struct session *s, const struct bytes *args)
{
    AUTOFREE char *op = NULL, *id = NULL;
    const struct requirement *q = NULL;
    int r = arg_text(args, "op", &op);
    if (r == 0)
        r = arg_text(args, "id", &id);
    if (r == 0)
        r = need_member(s->n);
    if (r == 0 && op && strcmp(op, "create") == 0)
        return run_create(s, args);
    if (r == 0)
        r = find_requirement(s->n, id, &q);
    if (r < 0)
        return r;
    if (op && strcmp(op, "status") == 0)
        return run_standing(s, q, args);
    if (op && strcmp(op, "cancel") == 0)
        return run_cancel(s, q);
    if (op && strcmp(op, "export") == 0)
        return run_export(s, q);
    return err_set(ERR_USAGE, "require: use status, cancel or export, or no word to require what this device has");
}
