/* The history and the state of what is stored. */
#include <unistd.h>

#include "cli/args.h"
#include "cli/ask.h"

/* While it goes on, on a terminal: how much has been read. */
static void show_progress(struct bytes value)
{
    uint64_t bytes = 0;
    bool ok = true;
    AUTO(buf_release) struct buf text = BUF_INIT(64);
    ctl_arg_u64(&value, "checked", &bytes, &ok);
    out_size(&text, bytes);
    if (isatty(STDERR_FILENO) && buf_ok(&text))
        fprintf(stderr, "\r%.*s read ", (int)text.len, (const char *)text.data);
}

static void show_result(const struct cli *c, struct bytes value)
{
    static const struct out_column columns[] = {
        { "what", "WHAT", OUT_TEXT, NULL, NULL }, { "name", "NAME", OUT_TEXT, NULL, NULL }, { "state", "STATE", OUT_TEXT, NULL, NULL },
        { "why", "WHY", OUT_TEXT, NULL, NULL }, { 0 },
    };
    static const struct out_column rows[] = {
        { "files", "files", OUT_COUNT, NULL, NULL }, { "kept", "versions in files", OUT_COUNT, NULL, NULL },
        { "versions", "versions in packs", OUT_COUNT, NULL, NULL },
        { "current", "of them of files that are there", OUT_COUNT, NULL, NULL }, { "packs", "packs", OUT_COUNT, NULL, NULL },
        { "bytes", "read", OUT_BYTES, NULL, NULL }, { "ok", "result", OUT_FLAG, "all is well", "damaged" }, { 0 },
    };
    struct bytes damaged;
    if (c->json) {
        out_json(c->out.f, value);
        return;
    }
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%20s\r", "");
    if (out_find(value, "damaged", &damaged))
        out_table(&c->out, damaged, columns);
    out_rows(&c->out, value, rows);
}

int cmd_check(struct cli *c, const struct args *a)
{
    AUTO(request_release) struct request q = request_new("check");
    AUTO(link_close) struct link l = LINK_INIT;
    struct ctl_reply r;
    if (args_has(a, "repair") && args_has(a, "no-repair"))
        return usage_error("--repair and --no-repair: choose one");
    request_bool(&q, "repair", !args_has(a, "no-repair"));
    int code = link_ask(&l, c->home, &q, &r);
    while (!code) {
        struct bytes ok;
        if (out_find(r.value, "ok", &ok))
            show_result(c, r.value);
        else
            show_progress(r.value);
        if (!r.more)
            break;
        code = link_next(&l, &r);
    }
    return code;
}

int cmd_gc(struct cli *c, const struct args *a)
{
    static const struct out_column rows[] = {
        { "folded", "versions packed", OUT_COUNT, NULL, NULL }, { "folded_bytes", "bytes of them", OUT_BYTES, NULL, NULL },
        { "expired", "versions expired", OUT_COUNT, NULL, NULL }, { "compacted", "packs written anew", OUT_COUNT, NULL, NULL },
        { "forgotten", "entries forgotten", OUT_COUNT, NULL, NULL },
        { "kept", "versions in files", OUT_COUNT, NULL, NULL }, { "kept_bytes", "bytes of them", OUT_BYTES, NULL, NULL },
        { "packed", "versions in packs", OUT_COUNT, NULL, NULL }, { "packs", "packs", OUT_COUNT, NULL, NULL },
        { "pack_bytes", "bytes of them", OUT_BYTES, NULL, NULL }, { 0 },
    };
    (void)a;
    AUTO(request_release) struct request q = request_new("gc");
    return ask_rows(c, &q, rows);
}
