/* Commands about the versions of files. */
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/ask.h"
#include "cli/when.h"
#include "cli/where.h"

/* The file named by the user as the folder's path, or EXIT_USAGE when it is the folder itself. */
static int file_path(const struct cli *c, const char *typed, struct buf *path)
{
    int code = where_in_folder(c->home, typed, path);
    if (!code && path->len == 0)
        return usage_error("\"%s\" is the folder itself: name a file in it", typed);
    return code;
}

int cmd_log(struct cli *c, const struct args *a)
{
    static const struct out_column columns_deleted[] = {
        { "deleted", "DELETED", OUT_TIME, NULL, NULL },
        { "deleted_by", "BY", OUT_TEXT, NULL, NULL },
        { "kind", "KIND", OUT_TEXT, NULL, NULL },
        { "size", "SIZE", OUT_BYTES, NULL, NULL },
        { "available", "CONTENT", OUT_TEXT, NULL, NULL },
        { "holders", "HELD BY", OUT_TEXT, NULL, NULL },
        { "version", "LAST VERSION", OUT_TEXT, NULL, NULL },
        { "path", "PATH", OUT_TEXT, NULL, NULL },
        { 0 },
    };
    static const struct out_column columns[] = {
        { "time", "WHEN", OUT_TIME, NULL, NULL },
        { "device", "DEVICE", OUT_TEXT, NULL, NULL },
        { "kind", "KIND", OUT_TEXT, NULL, NULL },
        { "size", "SIZE", OUT_BYTES, NULL, NULL },
        { "current", "CURRENT", OUT_FLAG, "current", "" },
        { "conflict", "CONFLICT", OUT_FLAG, "conflict", "" },
        { "available", "CONTENT", OUT_TEXT, NULL, NULL },
        { "holders", "HELD BY", OUT_TEXT, NULL, NULL },
        { "version", "VERSION", OUT_TEXT, NULL, NULL },
        { "path", "PATH", OUT_TEXT, NULL, NULL },
        { 0 },
    };
    AUTO(buf_release) struct buf path = BUF_INIT(LIMIT_CTL_REQUEST);
    AUTO(request_release) struct request q = request_new("log");
    uint64_t limit = 0;
    int code = args_number(a, "limit", LIMIT_OBJECTS, &limit);
    if (!code && args_word(a, 0))
        code = where_in_folder(c->home, args_word(a, 0), &path);
    if (code)
        return code;
    request_path(&q, "path", path.len ? (const char *)path.data : NULL); /* the folder itself: all of it */
    if (args_has(a, "limit"))
        request_u64(&q, "limit", limit);
    if (args_has(a, "deleted"))
        request_bool(&q, "deleted", true);
    return ask_table(c, &q, args_has(a, "deleted") ? columns_deleted : columns);
}

int cmd_cat(struct cli *c, const struct args *a)
{
    AUTO(buf_release) struct buf path = BUF_INIT(LIMIT_CTL_REQUEST);
    AUTO(request_release) struct request q = request_new("cat");
    AUTO(link_close) struct link l = LINK_INIT;
    struct ctl_reply r;
    int code = file_path(c, args_word(a, 0), &path);
    if (code)
        return code;
    request_path(&q, "path", (const char *)path.data);
    request_str(&q, "version", args_value(a, "version"));
    for (code = link_ask(&l, c->home, &q, &r); !code; code = link_next(&l, &r)) {
        struct mp m = mp_reader(r.value.p, r.value.len);
        struct bytes piece = mp_peek(&m) == MP_BIN ? mp_bin(&m, SIZE_MAX) : (struct bytes){ NULL, 0 };
        if (piece.len > 0 && fwrite(piece.p, 1, piece.len, c->out.f) != piece.len)
            return failed(err_set(ERR_IO, "standard output: %m"));
        if (!r.more)
            return 0;
    }
    return code;
}

/* --at as milliseconds since 1970. */
static int parse_at(const char *text, struct request *q)
{
    int64_t ms, now = when_now();
    if (when_duration(text, &ms))
        ms = ms < now ? now - ms : 0;
    else if (!when_time(text, strlen(text), &ms) || ms < 0)
        return usage_error("--at: \"%s\" is no time: write 2026-01-31T13:45:00Z, or how long ago as 2h", text);
    request_u64(q, "at", (uint64_t)ms);
    return 0;
}

/* A file; a directory or the whole folder; or what would change. */
static void show_restored(const struct cli *c, struct bytes value, const struct out_column *file)
{
    static const struct out_column tree[] = {
        { "restored", "restored", OUT_COUNT, NULL, NULL },
        { "deleted", "deleted", OUT_COUNT, NULL, NULL },
        { "unchanged", "unchanged", OUT_COUNT, NULL, NULL },
        { 0 },
    };
    static const struct out_column plan[] = {
        { "change", "CHANGE", OUT_TEXT, NULL, NULL },
        { "kind", "KIND", OUT_TEXT, NULL, NULL },
        { "size", "SIZE", OUT_BYTES, NULL, NULL },
        { "available", "CONTENT", OUT_TEXT, NULL, NULL },
        { "version", "VERSION", OUT_TEXT, NULL, NULL },
        { "path", "PATH", OUT_TEXT, NULL, NULL },
        { 0 },
    };
    struct mp m = mp_reader(value.p, value.len);
    struct bytes found;
    if (mp_peek(&m) == MP_ARRAY)
        out_table(&c->out, value, plan);
    else
        out_rows(&c->out, value, out_find(value, "restored", &found) ? tree : file);
}

/* No path, or that of the folder itself: all of it. */
static int restore_request(const struct cli *c, const struct args *a, struct request *q)
{
    AUTO(buf_release) struct buf path = BUF_INIT(LIMIT_CTL_REQUEST), to = BUF_INIT(LIMIT_CTL_REQUEST);
    const char *version = args_value(a, "version"), *at = args_value(a, "at"), *dest = args_value(a, "to");
    if (version && at)
        return usage_error("--version and --at both say which version: give one of them");
    int code = at ? parse_at(at, q) : 0;
    if (!code && args_word(a, 0))
        code = where_in_folder(c->home, args_word(a, 0), &path);
    if (!code && !path.len && !at)
        return usage_error("restore: name a file, or say with --at what time the whole folder shall go back to");
    if (!code && dest)
        code = file_path(c, dest, &to);
    if (code)
        return code;
    request_path(q, "path", path.len ? (const char *)path.data : NULL);
    request_str(q, "version", version);
    request_path(q, "to", dest ? (const char *)to.data : NULL);
    if (args_has(a, "dry-run"))
        request_bool(q, "dry_run", true);
    if (args_has(a, "partial"))
        request_bool(q, "partial", true);
    return 0;
}

int cmd_restore(struct cli *c, const struct args *a)
{
    static const struct out_column file[] = {
        { "path", "restored", OUT_TEXT, NULL, NULL },
        { "version", "from version", OUT_TEXT, NULL, NULL },
        { "device", "of device", OUT_TEXT, NULL, NULL },
        { 0 },
    };
    AUTO(request_release) struct request q = request_new("restore");
    int code = restore_request(c, a, &q);
    return code ? code : ask(c, &q, show_restored, file);
}

/* The conflicts as rows of one table: each current version, then the ones that lost against it. */
static uint32_t flatten(struct bytes conflicts, struct buf *rows)
{
    uint32_t total = 0;
    struct mp m = mp_reader(conflicts.p, conflicts.len);
    for (uint32_t n = mp_array(&m, UINT32_MAX); n > 0 && !m.failed; n--) {
        struct bytes one = mp_skip(&m), v;
        if (out_find(one, "current", &v)) {
            buf_add(rows, v.p, v.len);
            total++;
        }
        if (!out_find(one, "losers", &v))
            continue;
        struct mp list = mp_reader(v.p, v.len);
        for (uint32_t k = mp_array(&list, UINT32_MAX); k > 0 && !list.failed; k--, total++) {
            struct bytes loser = mp_skip(&list);
            buf_add(rows, loser.p, loser.len);
        }
    }
    return total;
}

/* Most are there because two devices changed a file, and need no column that says so. */
static bool any_reason(struct bytes conflicts)
{
    struct bytes v;
    struct mp m = mp_reader(conflicts.p, conflicts.len);
    for (uint32_t n = mp_array(&m, UINT32_MAX); n > 0 && !m.failed; n--)
        if (out_find(mp_skip(&m), "reason", &v))
            return true;
    return false;
}

static void show_conflicts(const struct cli *c, struct bytes value, const struct out_column *columns)
{
    AUTO(buf_release) struct buf rows = BUF_INIT(LIMIT_CTL_REPLY), table = BUF_INIT(LIMIT_CTL_REPLY + 5u);
    if (!any_reason(value))
        columns++;
    mp_put_array(&table, flatten(value, &rows));
    buf_add(&table, rows.data, rows.len);
    out_table(&c->out, (struct bytes){ table.data, table.len }, columns);
}

int cmd_conflicts(struct cli *c, const struct args *a)
{
    static const struct out_column columns[] = {
        { "reason", "REASON", OUT_TEXT, NULL, NULL },
        { "current", "STATE", OUT_FLAG, "current", "lost" },
        { "time", "WHEN", OUT_TIME, NULL, NULL },
        { "device", "DEVICE", OUT_TEXT, NULL, NULL },
        { "kind", "KIND", OUT_TEXT, NULL, NULL },
        { "size", "SIZE", OUT_BYTES, NULL, NULL },
        { "version", "VERSION", OUT_TEXT, NULL, NULL },
        { "path", "PATH", OUT_TEXT, NULL, NULL },
        { 0 },
    };
    (void)a;
    AUTO(request_release) struct request q = request_new("conflicts");
    return ask(c, &q, show_conflicts, columns);
}

int cmd_resolve(struct cli *c, const struct args *a)
{
    AUTO(buf_release) struct buf path = BUF_INIT(LIMIT_CTL_REQUEST);
    AUTO(request_release) struct request q = request_new("resolve");
    if (!args_has(a, "keep"))
        return usage_error("resolve: which version shall stay? give --keep ID, as lanyard conflicts shows it");
    int code = file_path(c, args_word(a, 0), &path);
    if (code)
        return code;
    request_path(&q, "path", (const char *)path.data);
    request_str(&q, "keep", args_value(a, "keep"));
    return ask_quietly(c, &q);
}
