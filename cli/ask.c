#include "cli/ask.h"

int ask(const struct cli *c, const struct request *q, ask_view *show, const struct out_column *columns)
{
    AUTO(link_close) struct link l = LINK_INIT;
    struct ctl_reply r;
    int code = link_ask(&l, c->home, q, &r);
    if (code)
        return code;
    if (c->json)
        out_json(c->out.f, r.value);
    else if (show)
        show(c, r.value, columns);
    return 0;
}

static void show_table(const struct cli *c, struct bytes value, const struct out_column *columns) { out_table(&c->out, value, columns); }
static void show_rows(const struct cli *c, struct bytes value, const struct out_column *columns) { out_rows(&c->out, value, columns); }

int ask_table(const struct cli *c, const struct request *q, const struct out_column *columns) { return ask(c, q, show_table, columns); }
int ask_rows(const struct cli *c, const struct request *q, const struct out_column *columns) { return ask(c, q, show_rows, columns); }
int ask_quietly(const struct cli *c, const struct request *q) { return ask(c, q, NULL, NULL); }
