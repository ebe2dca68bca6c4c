/* Commands about the devices of the group. */
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/ask.h"

int cmd_devices(struct cli *c, const struct args *a)
{
    static const struct out_column columns[] = {
        { "name", "NAME", OUT_TEXT, NULL, NULL },
        { "role", "ROLE", OUT_TEXT, NULL, NULL },
        { "revoked", "STATE", OUT_FLAG, "revoked", "member" },
        { "this", "WHERE", OUT_FLAG, "here", "elsewhere" },
        { "added", "ADDED", OUT_TIME, NULL, NULL },
        { "id", "ID", OUT_TEXT, NULL, NULL },
        { 0 },
    };
    (void)a;
    AUTO(request_release) struct request q = request_new("devices");
    return ask_table(c, &q, columns);
}

/* One cell of the reply as text for people; valid until `b` changes. */
static const char *cell(const struct cli *c, struct buf *b, struct bytes map, const char *key, enum out_format format)
{
    buf_clear(b);
    out_cell(&c->out, b, map, &(struct out_column){ .key = key, .format = format });
    buf_add(b, "", 1);
    return buf_ok(b) ? (const char *)b->data : "?";
}

static void show_code(const struct cli *c, struct bytes v)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_HEAD);
    if (c->json) {
        out_json(c->out.f, v);
        fflush(c->out.f);
        return;
    }
    fprintf(c->out.f, "%s\n", cell(c, &b, v, "code", OUT_TEXT));
    fflush(c->out.f); /* first the code, wherever the two streams go */
    fprintf(stderr, "On the new device, as %s: lanyard join %s", cell(c, &b, v, "role", OUT_TEXT), "CODE");
    fprintf(stderr, " [FOLDER]\nThe code works once and ends %s.\n", cell(c, &b, v, "until", OUT_TIME));
}

static void show_joined(const struct cli *c, struct bytes v)
{
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_HEAD), id = BUF_INIT(LIMIT_HEAD);
    if (c->json)
        out_json(c->out.f, v);
    else
        fprintf(c->out.f, "joined %s (%s)\n", cell(c, &name, v, "name", OUT_TEXT), cell(c, &id, v, "id", OUT_TEXT));
}

static int check_role(const char *role)
{
    if (strcmp(role, "member") == 0 || strcmp(role, "admin") == 0 || strcmp(role, "reader") == 0)
        return 0;
    return usage_error("--role: there is no role \"%s\" to give: choose member, admin or reader", role);
}

int cmd_invite(struct cli *c, const struct args *a)
{
    int64_t ttl = 15 * 60 * 1000;
    const char *role = args_value(a, "role") ? args_value(a, "role") : "member";
    int code = check_role(role);
    if (!code)
        code = args_duration(a, "ttl", &ttl);
    if (!code && ttl < 1000)
        code = usage_error("--ttl: nobody can type that fast: give at least 1s");
    if (code)
        return code;
    AUTO(request_release) struct request q = request_new("invite");
    AUTO(link_close) struct link l = LINK_INIT;
    struct ctl_reply r;
    request_str(&q, "role", role);
    request_u64(&q, "ttl_s", (uint64_t)ttl / 1000);
    request_bool(&q, "wait", args_has(a, "wait"));
    code = link_ask(&l, c->home, &q, &r);
    if (code)
        return code;
    show_code(c, r.value);
    if (r.more) {
        code = link_next(&l, &r);
        if (!code)
            show_joined(c, r.value);
    }
    return code;
}
