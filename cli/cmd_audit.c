/* Who did what, and the proof of it. */
#include <string.h>

#include "cli/args.h"
#include "cli/ask.h"
#include "cli/when.h"

static void show_result(const struct cli *c, struct bytes value)
{
    static const struct out_column columns[] = { { "fault", "FAULT", OUT_TEXT, NULL, NULL }, { 0 } };
    static const struct out_column rows[] = {
        { "records", "group records", OUT_COUNT, NULL, NULL }, { "streams", "streams", OUT_COUNT, NULL, NULL },
        { "sets", "change sets", OUT_COUNT, NULL, NULL }, { "entries", "entries", OUT_COUNT, NULL, NULL },
        { "forgotten", "forgotten", OUT_COUNT, NULL, NULL }, { "ok", "result", OUT_FLAG, "all is as it was signed", "not as it was signed" }, { 0 },
    };
    struct bytes faults;
    if (c->json) {
        out_json(c->out.f, value);
        return;
    }
    if (out_find(value, "faults", &faults))
        out_table(&c->out, faults, columns);
    out_rows(&c->out, value, rows);
}

/* What is wrong is shown before the failure that follows. */
static int verify(struct cli *c)
{
    AUTO(request_release) struct request q = request_new("audit");
    AUTO(link_close) struct link l = LINK_INIT;
    struct ctl_reply r;
    request_bool(&q, "verify", true);
    int code = link_ask(&l, c->home, &q, &r);
    if (code)
        return code;
    show_result(c, r.value);
    return r.more ? link_next(&l, &r) : 0;
}

static int since(struct request *q, const char *text)
{
    int64_t t;
    if (when_duration(text, &t))
        t = when_now() - t;
    else if (!when_time(text, strlen(text), &t) || t < 0)
        return usage_error("--since: \"%s\" is no time: write 2026-01-31T13:45:00Z, or 2h for two hours ago", text);
    request_u64(q, "since", t > 0 ? (uint64_t)t : 0);
    return 0;
}

int cmd_audit(struct cli *c, const struct args *a)
{
    static const struct out_column columns[] = {
        { "time", "WHEN", OUT_TIME, NULL, NULL }, { "device", "DEVICE", OUT_TEXT, NULL, NULL }, { "what", "WHAT", OUT_TEXT, NULL, NULL },
        { "about", "ABOUT", OUT_TEXT, NULL, NULL }, { 0 },
    };
    AUTO(request_release) struct request q = request_new("audit");
    uint64_t limit = 0;
    if (args_has(a, "verify"))
        return a->givens == 1 ? verify(c) : usage_error("audit --verify: looks at all of it: leave the other options out");
    int code = args_number(a, "limit", LIMIT_OBJECTS, &limit);
    if (!code && args_has(a, "since"))
        code = since(&q, args_value(a, "since"));
    if (code)
        return code;
    if (args_has(a, "limit"))
        request_u64(&q, "limit", limit);
    return ask_table(c, &q, columns);
}
