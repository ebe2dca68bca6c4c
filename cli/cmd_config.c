#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/link.h"

/* op, key and value with their number checked. */
static int check_words(const struct args *a, const char **op)
{
    static const struct { const char *op; int words; const char *usage; } ops[] = {
        { "list", 1, "list" }, { "get", 2, "get KEY" }, { "set", 3, "set KEY VALUE" },
    };
    *op = a->words > 0 ? args_word(a, 0) : "list";
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (strcmp(*op, ops[i].op) != 0)
            continue;
        if (a->words > 0 && a->words != ops[i].words)
            return usage_error("config %s: wrong number of words: usage: lanyard config %s", *op, ops[i].usage);
        return 0;
    }
    return usage_error("config cannot \"%s\": use list, get KEY or set KEY VALUE", *op);
}

/* Without a node the file itself is read or written, by the program that knows the table of keys. */
static int config_offline(const struct cli *c, const struct args *a, const char *op)
{
    AUTO(daemon_release) struct daemon d = daemon_new(c, "config");
    daemon_add(&d, op);
    if (c->json)
        daemon_add(&d, "--json");
    for (int i = 1; i < a->words; i++) {
        if (i == 1)
            daemon_add(&d, "--");
        daemon_add(&d, args_word(a, i));
    }
    return daemon_exec(&d);
}

static void show(const struct cli *c, struct bytes v, const char *op)
{
    static const struct out_column columns[] = {
        { "key", "KEY", OUT_TEXT, NULL, NULL },
        { "value", "VALUE", OUT_TEXT, NULL, NULL },
        { "default", "DEFAULT", OUT_TEXT, NULL, NULL },
        { "type", "TYPE", OUT_TEXT, NULL, NULL },
        { "help", "HELP", OUT_TEXT, NULL, NULL },
        { 0 },
    };
    AUTO(buf_release) struct buf cell = BUF_INIT(LIMIT_CTL_REPLY);
    if (c->json) {
        out_json(c->out.f, v);
    } else if (strcmp(op, "list") == 0) {
        out_table(&c->out, v, columns);
    } else if (strcmp(op, "get") == 0) {
        out_cell(&c->out, &cell, v, &columns[1]);
        fprintf(c->out.f, "%.*s\n", (int)cell.len, (const char *)cell.data);
    }
}

int cmd_config(struct cli *c, const struct args *a)
{
    const char *op;
    AUTO(request_release) struct request q = request_new("config");
    AUTO(link_close) struct link l = LINK_INIT;
    struct ctl_reply r;
    int code = check_words(a, &op);
    if (code)
        return code;
    request_str(&q, "op", op);
    request_str(&q, "key", args_word(a, 1));
    request_str(&q, "value", args_word(a, 2));
    code = link_ask(&l, c->home, &q, &r);
    if (code == EXIT_NOT_RUNNING)
        return config_offline(c, a, op);
    if (!code)
        show(c, r.value, op);
    return code;
}
