/* Commands about what the running node does. */
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include <msgpack.h>
#include <sodium.h>

#include "cli/args.h"
#include "cli/ask.h"
#include "proto/msg.h"

#define DOWN_MS 60000

int cmd_wait(struct cli *c, const struct args *a)
{
    int64_t timeout = -1;
    uint64_t peers = 0;
    AUTO(request_release) struct request q = request_new("wait");
    int code = args_duration(a, "timeout", &timeout);
    if (!code)
        code = args_number(a, "peers", LIMIT_MEMBERS, &peers);
    if (code)
        return code;
    if (timeout >= 0)
        request_u64(&q, "timeout_ms", (uint64_t)timeout);
    if (args_has(a, "peers"))
        request_u64(&q, "peers", peers);
    return ask_quietly(c, &q);
}

int cmd_scan(struct cli *c, const struct args *a)
{
    static const struct out_column columns[] = {
        { "files", "files", OUT_COUNT, NULL, NULL },
        { "changed", "changed", OUT_COUNT, NULL, NULL },
        { "errors", "errors", OUT_COUNT, NULL, NULL },
        { 0 },
    };
    (void)a;
    AUTO(request_release) struct request q = request_new("scan");
    return ask_rows(c, &q, columns);
}

int cmd_pause(struct cli *c, const struct args *a)
{
    (void)a;
    AUTO(request_release) struct request q = request_new("pause");
    return ask_quietly(c, &q);
}

int cmd_resume(struct cli *c, const struct args *a)
{
    AUTO(request_release) struct request q = request_new("resume");
    request_bool(&q, "accept_deletions", args_has(a, "accept-deletions"));
    return ask_quietly(c, &q);
}

/* Waits for the process behind the descriptor, so that the home is free when we return. */
static int wait_ended(int process)
{
    struct pollfd p = { .fd = process, .events = POLLIN };
    if (process < 0)
        return 0; /* in another pid namespace: its reply must do */
    if (poll(&p, 1, DOWN_MS) == 0)
        return failed(err_set(ERR_TIMEOUT, "the node has not ended after %d s: see its log", DOWN_MS / 1000));
    return 0;
}

int cmd_down(struct cli *c, const struct args *a)
{
    (void)a;
    AUTO(request_release) struct request q = request_new("down");
    AUTO(link_close) struct link l = LINK_INIT;
    struct ctl_reply r;
    int code = link_open(&l, c->home);
    if (code)
        return code;
    int process = link_process(&l); /* now, while it surely lives: its number could be used again later */
    code = link_send(&l, &q);
    if (!code)
        code = link_next(&l, &r);
    if (!code)
        code = wait_ended(process);
    if (process >= 0)
        close(process);
    if (!code && c->json)
        out_json(c->out.f, r.value);
    return code;
}

static void print_event(FILE *f, struct bytes event)
{
    struct mp m = mp_reader(event.p, event.len);
    if (mp_nil(&m))
        return;
    out_json(f, event);
    fflush(f);
}

int cmd_events(struct cli *c, const struct args *a)
{
    AUTO(request_release) struct request q = request_new("events");
    AUTO(link_close) struct link l = LINK_INIT;
    struct ctl_reply r;
    request_bool(&q, "follow", args_has(a, "follow"));
    int code = link_ask(&l, c->home, &q, &r);
    for (; !code; code = link_next(&l, &r)) {
        print_event(c->out.f, r.value);
        if (!r.more || ferror(c->out.f))
            return 0; /* main tells when nobody could read it */
    }
    return code;
}

/* What is known without a node, in the same form. */
static void own_version(struct buf *v)
{
    mp_put_map(v, 3);
    mp_put_str(v, "version");
    mp_put_str(v, LANYARD_VERSION);
    mp_put_str(v, "protocol");
    mp_put_u64(v, PROTO_MAX);
    mp_put_str(v, "libraries");
    mp_put_map(v, 2);
    mp_put_str(v, "libsodium");
    mp_put_str(v, sodium_version_string());
    mp_put_str(v, "msgpack-c");
    mp_put_str(v, msgpack_version());
}

static void print_version(const struct out *o, struct bytes v)
{
    static const struct out_column columns[] = {
        { "version", "lanyard", OUT_TEXT, NULL, NULL },
        { "protocol", "protocol", OUT_TEXT, NULL, NULL },
        { 0 },
    };
    struct bytes libraries;
    out_rows(o, v, columns);
    if (!out_find(v, "libraries", &libraries))
        return;
    AUTO(buf_release) struct buf line = BUF_INIT(LIMIT_CTL_REPLY);
    struct mp m = mp_reader(libraries.p, libraries.len);
    uint32_t count = mp_map(&m, LIMIT_MEMBERS);
    for (uint32_t i = 0; i < count && !m.failed; i++) {
        buf_add_str(&line, i ? ", " : "");
        out_safe(&line, mp_str(&m, CTL_KEY_MAX), false);
        buf_add_str(&line, " ");
        out_safe(&line, mp_str(&m, LIMIT_TEXT), false);
    }
    fprintf(o->f, "with      %.*s\n", (int)line.len, (const char *)line.data);
}

int cmd_version(struct cli *c, const struct args *a)
{
    (void)a;
    AUTO(request_release) struct request q = request_new("version");
    AUTO(link_close) struct link l = LINK_INIT;
    AUTO(buf_release) struct buf own = BUF_INIT(LIMIT_HEAD);
    struct ctl_reply r;
    int code = link_ask(&l, c->home, &q, &r);
    if (code && code != EXIT_NOT_RUNNING)
        return code;
    if (code) {
        own_version(&own);
        r.value = (struct bytes){ own.data, own.len };
    }
    if (c->json)
        out_json(c->out.f, r.value);
    else
        print_version(&c->out, r.value);
    return 0;
}
