#include "node/lock.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "node/api.h"
#include "node/file.h"
#include "node/log.h"
#include "node/node_priv.h"
#include "node/note.h"
#include "node/proof.h"
#include "node/strict.h"
#include "proto/field.h"
#include "proto/policy.h"

#define GAP_MS 20                         /* between two looks: a hundred vectors may come at once */

bool lock_holds(const struct node *n) { return lock_state_holds(n->lock_state); }

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

/* ---- the file LOCKED ---- */

#define FILE_MODE 0644

static char *locked_file(const struct node *n)
{
    AUTOFREE char *own = file_in(folder_path(n->folder), ".lanyard");
    return file_in(own, "LOCKED");
}

/* Names and messages have no control characters. */
static void put_json(struct buf *b, const char *before, const char *key, const char *v)
{
    buf_addf(b, "%s\"%s\": ", before, key);
    if (!v) {
        buf_add_str(b, "null");
        return;
    }
    buf_add_str(b, "\"");
    for (; *v; v++)
        buf_addf(b, *v == '"' || *v == '\\' ? "\\%c" : "%c", *v);
    buf_add_str(b, "\"");
}

static void locked_text(const struct node *n, const struct required *q, struct buf *b)
{
    char since[40], until[40], id[2 * sizeof q->id + 1];
    node_time(since, q->ts_ms);
    node_time(until, q->until_ms);
    buf_addf(b, "This folder is locked: %s requires another version first.\n", name_of(n, &q->by));
    if (q->message[0])
        buf_addf(b, "%s\n", q->message);
    if (q->until_ms)
        buf_addf(b, "This ends at %s.\n", until);
    buf_add_str(b, "`lanyard gate` shows how far this device is. The next line is the same for programs.\n");
    put_json(b, "{", "id", sodium_bin2hex(id, sizeof id, q->id, sizeof q->id));
    put_json(b, ", ", "by", name_of(n, &q->by));
    put_json(b, ", ", "message", q->message);
    put_json(b, ", ", "since", since);
    put_json(b, ", ", "until", q->until_ms ? until : NULL);
    buf_add_str(b, "}\n");
}

static bool write_file(const struct node *n, const struct required *q)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_HEAD);
    AUTOFREE char *path = locked_file(n);
    locked_text(n, q, &b);
    bool ok = file_show(path, b.data, b.len, FILE_MODE) == 0;
    if (!ok)
        log_seldom(LOG_WARN, "the file LOCKED is missing why=\"%s\"", err_text());
    return ok;
}

static void remove_file(const struct node *n)
{
    AUTOFREE char *path = locked_file(n);
    if (unlink(path) < 0 && errno != ENOENT)
        log_warn("%s stays although this device is not locked: %m", path);
}

/* ---- telling ---- */

/* What a run before this one has told is remembered by the file: so nothing is told twice, and no end of a lock is passed over. */
static void recall(struct node *n)
{
    AUTOFREE char *path = locked_file(n);
    n->lock_told = access(path, F_OK) == 0 ? LOCK_TOLD_YES : LOCK_TOLD_NO;
}

static void tell_locked(struct node *n, const struct required *q)
{
    bool news = n->lock_told != LOCK_TOLD_YES;
    if (!news && memcmp(n->lock_told_of, q->id, sizeof q->id) == 0)
        return;
    n->lock_told = LOCK_TOLD_YES;
    if (write_file(n, q))                /* else the next look tries again: the disk may be full */
        memcpy(n->lock_told_of, q->id, sizeof q->id);
    if (!news)
        return;
    log_info("locked by=%s message=\"%s\"", name_of(n, &q->by), q->message);
    node_event(n, "locked", "by", name_of(n, &q->by), "message", q->message, NULL);
}

static void tell_unlocked(struct node *n, const struct engine_lock *l)
{
    static const char *const words[] = {[LOCK_NONE] = "ended", [LOCK_REACHED] = "reached", [LOCK_BEHIND] = "nobody has it", [LOCK_OVERRIDDEN] = "overridden"};
    const struct required *q = l->what ? l->what->what : NULL;
    if (n->lock_told != LOCK_TOLD_YES)
        return;
    n->lock_told = LOCK_TOLD_NO;
    remove_file(n);
    log_info("unlocked why=\"%s\"", words[l->state]);
    node_event(n, "unlocked", "by", q ? name_of(n, &q->by) : "?", "message", q ? q->message : "", "reason", words[l->state], NULL);
}

/* Nobody can be told before there is a folder and an api: lock_poll comes again. */
static void tell(struct node *n, const struct engine_lock *l)
{
    if (!n->folder || !n->api)
        return;
    if (n->lock_told == LOCK_TOLD_UNKNOWN)
        recall(n);
    if (lock_state_holds(l->state) && l->what)
        tell_locked(n, l->what->what);
    else
        tell_unlocked(n, l);
}

/* ---- mode strict ---- */

static bool may_pass(void *arg)
{
    struct node *n = arg;
    return n->scan && scan_first_done(n->scan) && n->pull && !pull_placing(n->pull);
}

static void on_writable(void *arg) { lock_poll(arg); }

void lock_folder(struct node *n)
{
    struct strict_config c = {.loop = n->loop, .pool = n->pool, .folder = n->folder, .engine = n->engine, .index = n->index,
                              .ops = {.ready = may_pass, .done = on_writable, .arg = n}};
    n->strict = strict_new(&c);
    lock_poll(n);
}

void lock_free(struct node *n) { strict_free(&n->strict); }

bool lock_touches(const struct node *n, const char *path, size_t len) { return n->strict && strict_touches(n->strict, path, len); }

/* True: nobody is to hear yet that the lock is over, for files are still read-only. */
static bool fence(struct node *n, const struct engine_lock *l)
{
    if (!n->strict)
        return false;
    strict_want(n->strict, lock_state_holds(l->state) && l->what && l->what->what->mode == REQUIRE_STRICT);
    return !lock_state_holds(l->state) && strict_undoing(n->strict);
}

/* ---- from one state to the next ---- */

static void note_progress(struct node *n)
{
    struct pull_figures f = {0};
    if (n->pull)
        pull_figures(n->pull, &f);
    if (f.blocks != n->lock_blocks)
        engine_lock_progress(n->engine, loop_now());
    n->lock_blocks = f.blocks;
}

static void look(void *arg)
{
    struct node *n = arg;
    struct engine_lock l;
    enum lock_state was = n->lock_state;
    note_progress(n);
    int r = engine_lock_look(n->engine, loop_wall(), loop_now());
    bool news = r > 0;
    if (r >= 0)
        r = engine_lock(n->engine, &l);
    if (r < 0) {
        log_seldom(LOG_WARN, "required version: %s", err_text());
        return;
    }
    if (!fence(n, &l)) {
        n->lock_state = l.state;
        tell(n, &l);
    }
    if (was != n->lock_state) {
        api_locked(n->api);
        if (n->pull)
            pull_choose_anew(n->pull);
    }
    if (news)
        node_committed(n);
}

/* What this device itself has signed is a receipt like any other. */
static void prove_own(struct node *n)
{
    AUTO(buf_release) struct buf blob = BUF_INIT(LIMIT_BODY);
    if (proof_wants(n->proof, &n->home->keys->dev) && engine_own_vector(n->engine, loop_wall(), 0, &blob) == 0)
        proof_note(n->proof, blob.data, blob.len);
}

/* Not at once: a hundred devices may reach it at the same time, and each transaction costs a flush of the disk. */
static void look_and_save(void *arg)
{
    struct node *n = arg;
    look(n);
    prove_own(n);
    if (proof_unsaved(n->proof) && proof_save(n->proof, loop_wall()) < 0)
        log_seldom(LOG_WARN, "receipts: %s", err_text());
}

void lock_poll(struct node *n)
{
    if (!n->lock_timer.set)
        loop_timer_set(n->loop, &n->lock_timer, GAP_MS, look_and_save, n);
}

void lock_now(struct node *n)
{
    look(n);
    lock_poll(n);
}

void lock_vector(struct node *n, const struct id *dev, const void *blob, size_t len)
{
    if (proof_wants(n->proof, dev))
        proof_note(n->proof, blob, len);
    lock_now(n);
}

/* Where it stays: in the log and the events here, and as a note; that it was done, and when, in this device's vectors, for all to see. */
static void record_override(struct node *n, const struct required *q, const char *reason)
{
    log_warn("required version overridden by=%s message=\"%s\" reason=\"%s\"", name_of(n, &q->by), q->message, reason);
    node_event(n, "overridden", "by", name_of(n, &q->by), "message", q->message, "reason", reason, NULL);
    note_required(n, "overrode", reason);
}

int lock_override(struct node *n, const char *reason)
{
    const struct requirement *q = group_required_of(control_group(n->home->control), &n->home->keys->dev);
    if (!reason || !*reason || strlen(reason) > LIMIT_TEXT || !text_ok(reason, strlen(reason)))
        return err_set(ERR_USAGE, "--reason: say in one line of at most %u bytes why this device must go on", LIMIT_TEXT);
    if (!policy_number(control_group(n->home->control), "require.override"))
        return err_set(ERR_DENIED, "the policy of the group does not allow this: ask an owner or admin to cancel the requirement");
    int r = engine_lock_override(n->engine, loop_wall());
    if (r == 0) {
        record_override(n, q->what, reason);
        look(n);
        node_committed(n);
    }
    return r;
}

int lock_accept(struct node *n)
{
    int r = engine_lock_accept(n->engine, loop_wall());
    if (r == 0) {
        note_required(n, "accepted", NULL);
        look(n);
    }
    return r;
}
