/* What admins lay down for all devices. */
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/ask.h"

/* The value alone; of a text its lines. */
static void show_value(const struct cli *c, struct bytes row, const struct out_column *columns)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    struct bytes text;
    bool ok = true;
    if (!ctl_arg_bytes(&row, "value", &text, &ok)) {
        out_cell(&c->out, &b, row, columns);
        buf_add_str(&b, "\n");
    } else {
        for (const uint8_t *p = text.p, *end = p + text.len, *next; p < end; p = next) {
            const uint8_t *line = memchr(p, '\n', (size_t)(end - p));
            next = line ? line + 1 : end;
            out_safe(&b, (struct bytes){ p, (size_t)((line ? line : end) - p) }, false);
            buf_add_str(&b, "\n");
        }
    }
    fwrite(b.data, 1, b.len, c->out.f);
}

int cmd_policy(struct cli *c, const struct args *a)
{
    static const struct out_column columns[] = {
        { "key", "KEY", OUT_TEXT, NULL, NULL },
        { "value", "VALUE", OUT_TEXT, NULL, NULL },
        { "set", "", OUT_FLAG, "set", "default" },
        { "type", "TYPE", OUT_TEXT, NULL, NULL },
        { "help", "MEANING", OUT_TEXT, NULL, NULL },
        { 0 },
    };
    static const struct { const char *op; int words; const char *usage; } ops[] = {
        { "list", 1, "list" }, { "get", 2, "get KEY" }, { "set", 3, "set KEY VALUE" }, { "unset", 2, "unset KEY" },
    };
    const char *op = a->words ? args_word(a, 0) : "list";
    AUTO(request_release) struct request q = request_new("policy");
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (strcmp(op, ops[i].op) != 0)
            continue;
        if (a->words && a->words != ops[i].words)
            return usage_error("policy %s: wrong number of words: usage: lanyard policy %s", op, ops[i].usage);
        request_str(&q, "op", op);
        request_str(&q, "key", args_word(a, 1));
        request_str(&q, "value", args_word(a, 2));
        if (i == 0)
            return ask_table(c, &q, columns);
        return strcmp(op, "get") == 0 ? ask(c, &q, show_value, &columns[1]) : ask_quietly(c, &q);
    }
    return usage_error("policy cannot \"%s\": use list, get KEY, set KEY VALUE or unset KEY", op);
}
