/* Snapshots. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/ask.h"
#include "cli/save.h"
#include "cli/where.h"

/* ---- list ---- */

static int list(struct cli *c)
{
    static const struct out_column columns[] = {
        { "name", "NAME", OUT_TEXT, NULL, NULL },
        { "time", "WHEN", OUT_TIME, NULL, NULL },
        { "device", "DEVICE", OUT_TEXT, NULL, NULL },
        { "files", "FILES", OUT_COUNT, NULL, NULL },
        { "bytes", "SIZE", OUT_BYTES, NULL, NULL },
        { "complete", "CONTENT", OUT_FLAG, "here", "partly elsewhere" },
        { "current", "", OUT_FLAG, "", "give --device" },
        { 0 },
    };
    AUTO(request_release) struct request q = request_new("snapshot");
    request_str(&q, "op", "list");
    return ask_table(c, &q, columns);
}

/* ---- create, remove ---- */

static int change(struct cli *c, const char *op, const char *name)
{
    AUTO(request_release) struct request q = request_new("snapshot");
    request_str(&q, "op", op);
    request_str(&q, "name", name);
    return ask_quietly(c, &q);
}

/* ---- restore ---- */

static void show_changes(const struct cli *c, struct bytes reply, const struct out_column *columns)
{
    struct bytes changes;
    if (out_find(reply, "changes", &changes))
        out_table(&c->out, changes, columns);
}

static int restore(struct cli *c, const struct args *a)
{
    static const struct out_column done[] = {
        { "snapshot", "snapshot", OUT_TEXT, NULL, NULL },
        { "restored", "restored", OUT_COUNT, NULL, NULL },
        { "deleted", "deleted", OUT_COUNT, NULL, NULL },
        { "bytes", "size", OUT_BYTES, NULL, NULL },
        { 0 },
    };
    static const struct out_column plan[] = {
        { "change", "CHANGE", OUT_TEXT, NULL, NULL },
        { "kind", "KIND", OUT_TEXT, NULL, NULL },
        { "size", "SIZE", OUT_BYTES, NULL, NULL },
        { "path", "PATH", OUT_TEXT, NULL, NULL },
        { 0 },
    };
    AUTO(buf_release) struct buf path = BUF_INIT(LIMIT_CTL_REQUEST);
    AUTO(request_release) struct request q = request_new("snapshot");
    bool dry_run = args_has(a, "dry-run");
    int code = args_word(a, 2) ? where_in_folder(c->home, args_word(a, 2), &path) : 0;
    if (code)
        return code;
    request_str(&q, "op", "restore");
    request_str(&q, "name", args_word(a, 1));
    request_str(&q, "device", args_value(a, "device"));
    request_path(&q, "path", path.len ? (const char *)path.data : NULL);
    request_bool(&q, "dry_run", dry_run);
    return dry_run ? ask(c, &q, show_changes, plan) : ask_rows(c, &q, done);
}

/* ---- export ---- */

struct archive { struct cli *c; const struct args *a; };
static int receive(void *arg, FILE *to)
{
    const struct archive *x = arg;
    const struct args *a = x->a;
    AUTO(request_release) struct request q = request_new("snapshot");
    AUTO(link_close) struct link l = LINK_INIT;
    struct ctl_reply r;
    request_str(&q, "op", "export");
    request_str(&q, "name", args_word(a, 1));
    request_str(&q, "device", args_value(a, "device"));
    int code;
    for (code = link_ask(&l, x->c->home, &q, &r); !code; code = link_next(&l, &r)) {
        struct mp m = mp_reader(r.value.p, r.value.len);
        struct bytes piece = mp_peek(&m) == MP_BIN ? mp_bin(&m, SIZE_MAX) : (struct bytes){ NULL, 0 };
        if (piece.len > 0 && fwrite(piece.p, 1, piece.len, to) != piece.len)
            return failed(err_set(ERR_IO, "%s: %m", args_word(a, 2)));
        if (!r.more)
            return 0;
    }
    return code;
}

static int export(struct cli *c, const struct args *a)
{
    const char *name = args_word(a, 2);
    struct archive x = { c, a };
    if (strcmp(name, "-") == 0) {
        if (isatty(fileno(c->out.f)))
            return usage_error("snapshot export: an archive on a terminal helps nobody: give a file, or send it to a program");
        return receive(&x, c->out.f);
    }
    return save_file(name, receive, &x);
}

/* ---- the command ---- */

static int check_words(const struct args *a, const char **op)
{
    static const struct { const char *op; int min, max; const char *usage; } ops[] = {
        { "list", 1, 1, "list" }, { "create", 2, 2, "create NAME" }, { "restore", 2, 3, "restore [--dry-run] NAME [PATH]" },
        { "export", 3, 3, "export NAME FILE" }, { "remove", 2, 2, "remove NAME" },
    };
    *op = a->words > 0 ? args_word(a, 0) : "list";
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (strcmp(*op, ops[i].op) != 0)
            continue;
        if (a->words > 0 && (a->words < ops[i].min || a->words > ops[i].max))
            return usage_error("snapshot %s: wrong number of words: usage: lanyard snapshot %s", *op, ops[i].usage);
        if (args_has(a, "dry-run") && strcmp(*op, "restore") != 0)
            return usage_error("snapshot %s: --dry-run is for restore", *op);
        return 0;
    }
    return usage_error("snapshot cannot \"%s\": use list, create NAME, restore NAME, export NAME FILE or remove NAME", *op);
}

int cmd_snapshot(struct cli *c, const struct args *a)
{
    const char *op;
    int code = check_words(a, &op);
    if (code)
        return code;
    if (strcmp(op, "list") == 0)
        return list(c);
    if (strcmp(op, "restore") == 0)
        return restore(c, a);
    if (strcmp(op, "export") == 0)
        return export(c, a);
    return change(c, op, args_word(a, 1));
}
