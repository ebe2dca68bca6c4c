#include "cli/ask.h"

typedef void view(const struct out *o, struct bytes value, const struct out_column *columns);

static int ask(const struct cli *c, const struct request *q, view *show, const struct out_column *columns)
{
    AUTO(link_close) struct link l = LINK_INIT;
    struct ctl_reply r;
    int code = link_ask(&l, c->home, q, &r);
    if (code)
        return code;
    if (c->json)
        out_json(c->out.f, r.value);
    else if (show)
        show(&c->out, r.value, columns);
    return 0;
}

int ask_table(const struct cli *c, const struct request *q, const struct out_column *columns)
{
    return ask(c, q, out_table, columns);
}

int ask_rows(const struct cli *c, const struct request *q, const struct out_column *columns)
{
    return ask(c, q, out_rows, columns);
}

int ask_quietly(const struct cli *c, const struct request *q)
{
    return ask(c, q, NULL, NULL);
}
