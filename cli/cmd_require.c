/* A required version: the admin's side (require) and the user's (gate). */
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/ask.h"
#include "cli/when.h"

/* ---- require ---- */

static const struct out_column device_columns[] = {
    { "name", "DEVICE", OUT_TEXT, NULL, NULL },
    { "state", "STATE", OUT_TEXT, NULL, NULL },
    { "since", "SINCE", OUT_TIME, NULL, NULL },
    { "online", "", OUT_FLAG, "online", "offline" },
    { 0 },
};

static void show_requirement(const struct cli *c, struct bytes v, const struct out_column *columns)
{
    static const struct out_column facts[] = {
        { "id", "required", OUT_TEXT, NULL, NULL },
        { "by", "by", OUT_TEXT, NULL, NULL },
        { "message", "message", OUT_TEXT, NULL, NULL },
        { "mode", "mode", OUT_TEXT, NULL, NULL },
        { "since", "since", OUT_TIME, NULL, NULL },
        { "until", "until", OUT_TIME, NULL, NULL },
        { 0 },
    };
    struct bytes devices;
    if (!out_find(v, "id", &devices)) {
        fprintf(c->out.f, "no version is required\n");
        return;
    }
    out_rows(&c->out, v, facts);
    if (out_find(v, "devices", &devices))
        out_table(&c->out, devices, columns);
}

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

static int create(struct cli *c, const struct args *a)
{
    AUTO(request_release) struct request q = request_new("require");
    AUTO(buf_release) struct buf to = BUF_INIT(LIMIT_CTL_REQUEST);
    uint64_t end;
    int code = until(a, &end);
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
    return ask(c, &q, show_requirement, device_columns);
}

int cmd_require(struct cli *c, const struct args *a)
{
    const char *op = args_word(a, 0);
    AUTO(request_release) struct request q = request_new("require");
    if (!op)
        return create(c, a);
    if (strcmp(op, "status") != 0 && strcmp(op, "cancel") != 0)
        return usage_error("require cannot \"%s\": use status, cancel, or no word to require what this device has", op);
    request_str(&q, "op", op);
    request_str(&q, "id", args_word(a, 1));
    return strcmp(op, "cancel") == 0 ? ask_quietly(c, &q) : ask(c, &q, show_requirement, device_columns);
}

/* ---- gate ---- */

static const struct out_column gate_columns[] = {
    { "locked", "this device", OUT_FLAG, "locked", "unlocked" },
    { "by", "by", OUT_TEXT, NULL, NULL },
    { "message", "message", OUT_TEXT, NULL, NULL },
    { "until", "until", OUT_TIME, NULL, NULL },
    { "progress.done", "done", OUT_COUNT, NULL, NULL },
    { "progress.total", "of", OUT_COUNT, NULL, NULL },
    { 0 },
};

int cmd_gate(struct cli *c, const struct args *a)
{
    const char *op = args_word(a, 0);
    int64_t timeout = -1;
    AUTO(request_release) struct request q = request_new("gate");
    if (op && strcmp(op, "run") == 0)
        return cmd_gate_run(c, a);
    if (op && strcmp(op, "status") != 0 && strcmp(op, "accept") != 0 && strcmp(op, "wait") != 0)
        return usage_error("gate cannot \"%s\": use status, accept, wait or run -- CMD", op);
    if (args_word(a, 1) || args_has(a, "term"))
        return usage_error("gate: %s goes with run: usage: lanyard gate run [--term] -- CMD [ARGUMENT]...",
                           args_word(a, 1) ? args_word(a, 1) : "--term");
    int code = args_duration(a, "timeout", &timeout);
    if (code)
        return code;
    request_str(&q, "op", op);
    if (timeout >= 0)
        request_u64(&q, "timeout_ms", (uint64_t)timeout);
    return ask_rows(c, &q, gate_columns);
}
