/* A required version: the admin's side (require) and the user's (gate). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/ask.h"
#include "cli/require.h"
#include "cli/screen.h"
#include "cli/when.h"

/* ---- require ---- */

static const struct out_column fact_columns[] = {
    { "id", "required", OUT_TEXT, NULL, NULL },
    { "by", "by", OUT_TEXT, NULL, NULL },
    { "message", "message", OUT_TEXT, NULL, NULL },
    { "mode", "mode", OUT_TEXT, NULL, NULL },
    { "since", "since", OUT_TIME, NULL, NULL },
    { "until", "until", OUT_TIME, NULL, NULL },
    { 0 },
};
static const struct out_column device_columns[] = {
    { "name", "DEVICE", OUT_TEXT, NULL, NULL },
    { "state", "STATE", OUT_TEXT, NULL, NULL },
    { "since", "SINCE", OUT_TIME, NULL, NULL },
    { "signed", "SIGNED", OUT_TIME, NULL, NULL },
    { "online", "LINE", OUT_FLAG, "online", "offline" },
    { "waits", "", OUT_FLAG, "not accepted", "" },
    { "overridden", "", OUT_FLAG, "overridden", "" },
    { "partial", "", OUT_FLAG, "leaves files out", "" },
    { 0 },
};
static const struct out_column receipt_columns[] = {
    { "name", "DEVICE", OUT_TEXT, NULL, NULL },
    { "state", "STATE", OUT_TEXT, NULL, NULL },
    { "since", "SINCE", OUT_TIME, NULL, NULL },
    { "signed", "SIGNED", OUT_TIME, NULL, NULL },
    { "id", "ID", OUT_TEXT, NULL, NULL },
    { "partial", "", OUT_FLAG, "leaves files out", "" },
    { 0 },
};

struct turnout { uint32_t devices, reached; };
static struct turnout turnout(struct bytes v)
{
    static const char word[] = "reached";
    struct turnout t = { 0 };
    struct bytes devices, state;
    bool ok = true;
    if (!out_find(v, "devices", &devices))
        return t;
    struct mp m = mp_reader(devices.p, devices.len);
    t.devices = mp_array(&m, LIMIT_MEMBERS);
    for (uint32_t i = 0; i < t.devices && !m.failed; i++) {
        struct bytes one = mp_skip(&m);
        t.reached += ctl_arg_bytes(&one, "state", &state, &ok) && state.len == strlen(word) && memcmp(state.p, word, state.len) == 0;
    }
    return t;
}

static void show(const struct out *o, struct bytes v, const struct out_column *columns)
{
    struct bytes devices;
    if (!out_find(v, "devices", &devices)) {
        fprintf(o->f, "no version is required\n");
        return;
    }
    struct turnout t = turnout(v);
    out_rows(o, v, fact_columns);
    fprintf(o->f, "%sreached%s   %u of %u devices\n\n", out_begin(o, OUT_DIM), out_end(o, OUT_DIM), t.reached, t.devices);
    out_table(o, devices, columns);
}

static bool says(struct bytes v, const char *key, bool usual)
{
    bool ok = true;
    ctl_arg_bool(&v, key, &usual, &ok);
    return usual;
}

static void show_requirement(const struct out *o, struct bytes v)
{
    show(o, v, device_columns);
    if (!says(v, "provable", true))
        fprintf(o->f, "\nNo receipts can be made any more: what a device wrote that is named here does not count since it was revoked, or made "
                "a reader.\nRequire it anew for new ones.\n");
}

static void view(const struct cli *c, struct bytes v, const struct out_column *columns)
{
    (void)columns;
    show_requirement(&c->out, v);
}

/* ---- status ---- */

struct look {
    bool csv, wait, watch;
    bool over;                /* what was seen last is cancelled, or its time is over */
    bool named;               /* the request says which one is meant: */
    char id[33];
    int64_t timeout, began;   /* ms; timeout < 0: none */
    struct screen screen;
};

static void look_release(struct look *l)
{
    screen_release(&l->screen);
}

static void put_wait(const struct args *a, struct request *q, int64_t timeout)
{
    request_bool(q, "wait", args_has(a, "wait"));
    if (timeout >= 0)
        request_u64(q, "timeout_ms", (uint64_t)timeout);
}

static void show_csv(FILE *f, struct bytes v, const char *const *keys)
{
    static const uint8_t none[] = { 0x90 };
    struct bytes devices = { none, sizeof none };
    (void)out_find(v, "devices", &devices);
    out_csv(f, devices, keys);
}

void require_show_receipts(const struct cli *c, struct bytes v, bool csv)
{
    static const char *const keys[] = { "name", "id", "state", "since", "signed", "partial", NULL };
    static const struct out_column group[] = { { "group", "group   ", OUT_TEXT, NULL, NULL }, { "as_of", "as of   ", OUT_TIME, NULL, NULL }, { 0 } };
    if (c->json)
        out_json(c->out.f, v);
    else if (csv)
        show_csv(c->out.f, v, keys);
    else {
        out_rows(&c->out, v, group);
        show(&c->out, v, receipt_columns);
    }
}

static void show_line(const struct out *o, struct screen *s, struct turnout t)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_TEXT);
    if (t.devices)
        buf_addf(&b, "%u of %u devices have reached it", t.reached, t.devices);
    else
        buf_add_str(&b, "no version is required");
    screen_line(s, o->f, &b);
}

static void show_picture(const struct cli *c, struct look *l, struct bytes v)
{
    char *text = NULL;
    size_t len = 0;
    struct out o = c->out;    /* the same, into memory: a picture is drawn at once or it flickers */
    o.now_ms = when_now();
    if (!isatty(fileno(c->out.f))) {
        show_line(&c->out, &l->screen, turnout(v));
    } else if ((o.f = open_memstream(&text, &len))) {
        show_requirement(&o, v);
        fclose(o.f);
        screen_draw(&l->screen, c->out.f, text);
        free(text);
    }
}

/* Who waits means the requirement that was there when he began. */
static void stay_with(struct look *l, struct request *q, struct bytes v)
{
    struct bytes id;
    bool ok = true;
    if (l->named || !ctl_arg_bytes(&v, "id", &id, &ok) || id.len >= sizeof l->id)
        return;
    memcpy(l->id, id.p, id.len);
    request_str(q, "id", l->id);
    l->named = true;
}

/* An exit code; *t: who has reached it. */
static int look_once(const struct cli *c, struct look *l, struct request *q, struct turnout *t)
{
    static const char *const keys[] = { "name", "id", "online", "state", "since", "signed", "waits", "overridden", "partial", NULL };
    AUTO(link_close) struct link at = LINK_INIT;
    struct ctl_reply r;
    int code = link_ask(&at, c->home, q, &r);
    if (code)
        return code;
    if (c->json)
        out_json(c->out.f, r.value);
    else if (l->csv)
        show_csv(c->out.f, r.value, keys);
    else if (l->watch)
        show_picture(c, l, r.value);
    else
        show_requirement(&c->out, r.value);
    fflush(c->out.f);
    *t = turnout(r.value);
    l->over = says(r.value, "over", false);
    if (l->watch && l->wait)
        stay_with(l, q, r.value);
    return 0;
}

static int verdict(enum err code, struct turnout t)
{
    return t.reached == t.devices ? 0 : failed(err_set(code, "%u of %u devices have reached it", t.reached, t.devices));
}

/* Until interrupted; with --wait until all have reached it, or time is over. */
static int watch(const struct cli *c, struct look *l, struct request *q)
{
    for (;;) {
        struct turnout t;
        int code = look_once(c, l, q, &t);
        if (code || ferror(c->out.f) || (l->wait && t.reached == t.devices))
            return code;
        if (l->wait && l->over)
            return failed(err_set(ERR_CLOSED, "it was cancelled, or its time is over: %u of %u devices have reached it", t.reached, t.devices));
        if (l->wait && l->timeout >= 0 && when_now() - l->began >= l->timeout)
            return verdict(ERR_TIMEOUT, t);
        nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
    }
}

static int status(struct cli *c, const struct args *a, struct request *q)
{
    AUTO(look_release) struct look l = { .csv = args_has(a, "csv"), .wait = args_has(a, "wait"), .watch = args_has(a, "watch"), .named = args_word(a, 1),
                                         .timeout = -1, .began = when_now(), .screen = SCREEN_INIT };
    int code = args_duration(a, "timeout", &l.timeout);
    if (code)
        return code;
    if (l.csv && (c->json || l.watch))
        return usage_error("require status: --csv goes neither with --json nor with --watch");
    if (l.watch)
        return watch(c, &l, q);
    struct turnout t;
    put_wait(a, q, l.timeout);
    code = look_once(c, &l, q, &t);
    return code ? code : verdict(ERR_AGAIN, t);
}

/* ---- create ---- */

/* "2h" or a time: an exit code. */
static int until(const struct args *a, uint64_t *ms)
{
    const char *text = args_value(a, "until");
    int64_t t;
    *ms = 0;
    if (!text)
        return 0;
    if (when_duration(text, &t))
        t += when_now();
    else if (!when_time(text, strlen(text), &t))
        return usage_error("--until: \"%s\" is neither a duration, as 2h, nor a time, as 2026-01-31T13:45:00Z", text);
    *ms = t > 0 ? (uint64_t)t : 1;
    return 0;
}

static void view_plan(const struct cli *c, struct bytes v, const struct out_column *columns)
{
    struct bytes devices;
    if (out_find(v, "devices", &devices))
        out_table(&c->out, devices, columns);
}

static int create(struct cli *c, const struct args *a)
{
    static const struct out_column plan[] = {
        { "name", "DEVICE", OUT_TEXT, NULL, NULL },
        { "state", "STATE", OUT_TEXT, NULL, NULL },
        { "missing.files", "FILES", OUT_COUNT, NULL, NULL },
        { "missing.bytes", "MISSING", OUT_BYTES, NULL, NULL },
        { "online", "LINE", OUT_FLAG, "online", "offline" },
        { "last_seen", "SEEN", OUT_TIME, NULL, NULL },
        { 0 },
    };
    AUTO(request_release) struct request q = request_new("require");
    AUTO(buf_release) struct buf to = BUF_INIT(LIMIT_CTL_REQUEST);
    uint64_t end;
    int64_t timeout = -1;
    int code = until(a, &end);
    if (!code)
        code = args_duration(a, "timeout", &timeout);
    if (code)
        return code;
    for (int i = 0; i < a->givens; i++)
        if (strcmp(a->given[i].option->name, "to") == 0)
            buf_addf(&to, "%s%s", to.len ? "\n" : "", a->given[i].value);
    buf_add(&to, "", 1);
    request_str(&q, "op", "create");
    request_str(&q, "message", args_value(a, "message"));
    request_str(&q, "mode", args_value(a, "mode"));
    request_str(&q, "to", to.len > 1 ? (const char *)to.data : NULL);
    if (end)
        request_u64(&q, "until_ms", end);
    request_bool(&q, "dry_run", args_has(a, "dry-run"));
    put_wait(a, &q, timeout);
    return args_has(a, "dry-run") ? ask(c, &q, view_plan, plan) : ask(c, &q, view, NULL);
}

/* ---- the command ---- */

static int check_options(const struct args *a, const char *op)
{
    static const char new[] = "a new requirement";
    static const struct option_use uses[] = {
        { "message", "create", new }, { "until", "create", new }, { "mode", "create", new }, { "to", "create", new },
        { "dry-run", "create", new }, { "wait", "create status", "a new requirement and status" },
        { "timeout", "create status", "a new requirement and status" }, { "watch", "status", "status" },
        { "csv", "status verify", "status and verify" },
        { 0 },
    };
    int code = args_check_uses(a, op, uses);
    if (code)
        return code;
    if (args_has(a, "timeout") && !args_has(a, "wait"))
        return usage_error("require: --timeout is for --wait");
    if (a->words > 2 && strcmp(op, "export") != 0)
        return usage_error("require %s: \"%s\" is one word too many", op, args_word(a, 2));
    return 0;
}

static int cancel(struct cli *c, const struct args *a, struct request *q)
{
    (void)a;
    return ask_quietly(c, q);
}

int cmd_require(struct cli *c, const struct args *a)
{
    static const struct { const char *op; int (*ask)(struct cli *, const struct args *, struct request *); } asks[] = {
        { "status", status }, { "cancel", cancel },
    };
    const char *op = args_word(a, 0);
    AUTO(request_release) struct request q = request_new("require");
    int code = check_options(a, op ? op : "create");
    if (code || !op)
        return code ? code : create(c, a);
    if (strcmp(op, "export") == 0)
        return require_export(c, a);
    if (strcmp(op, "verify") == 0)
        return require_verify(c, a);
    request_str(&q, "op", op);
    request_str(&q, "id", args_word(a, 1));
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++)
        if (strcmp(op, asks[i].op) == 0)
            return asks[i].ask(c, a, &q);
    return usage_error("require cannot \"%s\": use status, cancel, export or verify, or no word to require what this device has", op);
}

/* ---- gate ---- */

static const struct out_column gate_columns[] = {
    { "locked", "this device", OUT_FLAG, "locked", "unlocked" },
    { "by", "by", OUT_TEXT, NULL, NULL },
    { "message", "message", OUT_TEXT, NULL, NULL },
    { "until", "until", OUT_TIME, NULL, NULL },
    { "progress.done", "done", OUT_COUNT, NULL, NULL },
    { "progress.total", "of", OUT_COUNT, NULL, NULL },
    { "waits_for", "waits for", OUT_TEXT, NULL, NULL },
    { 0 },
};

int cmd_gate(struct cli *c, const struct args *a)
{
    static const struct option_use uses[] = {
        { "timeout", "wait", "wait" }, { "reason", "override", "override" }, { "term", "run", "run" }, { "grace", "run", "run" }, { 0 },
    };
    const char *op = args_word(a, 0);
    int64_t timeout = -1;
    AUTO(request_release) struct request q = request_new("gate");
    int code = args_check_uses(a, op ? op : "status", uses);
    if (!code)
        code = args_duration(a, "timeout", &timeout);
    if (code)
        return code;
    if (op && strcmp(op, "run") == 0)
        return cmd_gate_run(c, a);
    if (op && strcmp(op, "status") != 0 && strcmp(op, "accept") != 0 && strcmp(op, "wait") != 0 && strcmp(op, "override") != 0)
        return usage_error("gate cannot \"%s\": use status, accept, wait, override --reason TEXT or run -- CMD", op);
    if (args_word(a, 1))
        return usage_error("gate: %s goes with run: usage: lanyard gate run [--term] [--grace DURATION] -- CMD [ARGUMENT]...", args_word(a, 1));
    if (op && strcmp(op, "override") == 0 && !args_has(a, "reason"))
        return usage_error("gate override: --reason TEXT is missing");
    request_str(&q, "op", op);
    request_str(&q, "reason", args_value(a, "reason"));
    if (timeout >= 0)
        request_u64(&q, "timeout_ms", (uint64_t)timeout);
    return ask_rows(c, &q, gate_columns);
}
