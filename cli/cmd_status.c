#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/link.h"
#include "cli/progress.h"
#include "cli/screen.h"
#include "cli/when.h"

#define BAR 20

static void add(const struct out *o, struct buf *b, struct bytes map, const char *key, enum out_format format)
{
    out_cell(o, b, map, &(struct out_column){ .key = key, .format = format });
}

/* Title and text as a line, and the buffer empty again. */
static void put(const struct out *o, const char *title, enum out_style style, struct buf *b)
{
    fprintf(o->f, "%s%-10s%s  %s", out_begin(o, OUT_DIM), title, out_end(o, OUT_DIM), out_begin(o, style));
    fwrite(b->data, 1, b->len, o->f);
    fprintf(o->f, "%s\n", out_end(o, style));
    buf_clear(b);
}

static enum out_style state_style(struct bytes status)
{
    static const struct { const char *state; enum out_style style; } states[] = {
        { "idle", OUT_GREEN }, { "error", OUT_RED }, { "locked", OUT_RED },
    };
    struct bytes v;
    bool ok = true;
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        if (ctl_arg_bytes(&status, "state", &v, &ok) && v.len == strlen(states[i].state) &&
            memcmp(v.p, states[i].state, v.len) == 0)
            return states[i].style;
    return OUT_YELLOW;
}

static uint64_t number(struct bytes map, const char *outer, const char *key)
{
    uint64_t n = 0;
    bool ok = true;
    if (outer && !ctl_arg_raw(&map, outer, &map))
        return 0;
    return ctl_arg_u64(&map, key, &n, &ok) ? n : 0;
}

static void print_node(const struct out *o, struct bytes v)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    struct bytes none;
    add(o, &b, v, "device.name", OUT_TEXT);
    buf_add_str(&b, " (");
    add(o, &b, v, "device.role", OUT_TEXT);
    buf_add_str(&b, ")");
    put(o, "device", OUT_BOLD, &b);
    add(o, &b, v, "device.id", OUT_TEXT);
    put(o, "id", OUT_PLAIN, &b);
    add(o, &b, v, "folder", OUT_TEXT);
    put(o, "folder", OUT_PLAIN, &b);
    add(o, &b, v, "listen", OUT_TEXT);
    put(o, "listen", OUT_PLAIN, &b);
    add(o, &b, v, "state", OUT_TEXT);
    put(o, "state", state_style(v), &b);
    if (out_find(v, "error", &none)) {
        add(o, &b, v, "error", OUT_TEXT);
        put(o, "error", OUT_RED, &b);
    }
}

static void print_content(const struct out *o, struct bytes v)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    add(o, &b, v, "files", OUT_COUNT);
    buf_add_str(&b, ", ");
    add(o, &b, v, "bytes", OUT_BYTES);
    put(o, "files", OUT_PLAIN, &b);
    if (number(v, "pending", "files") > 0) {
        add(o, &b, v, "pending.files", OUT_COUNT);
        buf_add_str(&b, ", ");
        add(o, &b, v, "pending.bytes", OUT_BYTES);
        put(o, "to fetch", OUT_YELLOW, &b);
    }
    if (number(v, NULL, "conflicts") > 0) {
        add(o, &b, v, "conflicts", OUT_COUNT);
        buf_add_str(&b, " (lanyard conflicts)");
        put(o, "conflicts", OUT_YELLOW, &b);
    }
    if (number(v, NULL, "ignored_errors") > 0) {
        add(o, &b, v, "ignored_errors", OUT_COUNT);
        buf_add_str(&b, " files cannot be synced (see the log)");
        put(o, "errors", OUT_RED, &b);
    }
}

static void print_required(const struct out *o, struct bytes v)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    struct bytes required;
    if (!out_find(v, "required", &required))
        return;
    buf_add_str(&b, "by ");
    add(o, &b, required, "by", OUT_TEXT);
    buf_add_str(&b, ": ");
    add(o, &b, required, "message", OUT_TEXT);
    out_cell(o, &b, required, &(struct out_column){ "reached", "", OUT_FLAG, ", reached", ", not reached" });
    put(o, "required", OUT_YELLOW, &b);
}

static void print_status(const struct out *o, struct bytes v)
{
    static const struct out_column columns[] = {
        { "name", "PEER", OUT_TEXT, NULL, NULL },
        { "role", "ROLE", OUT_TEXT, NULL, NULL },
        { "online", "LINE", OUT_FLAG, "online", "offline" },
        { "in_sync", "STATE", OUT_FLAG, "in sync", "behind" },
        { "missing.files", "FILES", OUT_COUNT, NULL, NULL },
        { "missing.bytes", "MISSING", OUT_BYTES, NULL, NULL },
        { "via", "VIA", OUT_TEXT, NULL, NULL },
        { "address", "ADDRESS", OUT_TEXT, NULL, NULL },
        { "last_seen", "SEEN", OUT_TIME, NULL, NULL },
        { 0 },
    };
    struct bytes peers;
    print_node(o, v);
    print_content(o, v);
    print_required(o, v);
    if (out_find(v, "peers", &peers) && peers.len > 1) { /* one byte: an empty array */
        fputc('\n', o->f);
        out_table(o, peers, columns);
    }
}

/* ---- --watch ---- */

/* How far this device, and each peer, is: known again by its id ("" = this device). */
struct tracked { char id[ID_HEX]; struct progress p; };
struct watch {
    struct tracked *t;
    size_t n;
    struct screen screen;
};

static struct progress *track(struct watch *w, struct bytes id)
{
    char name[ID_HEX] = "";
    if (id.len < sizeof name)
        memcpy(name, id.p, id.len);
    for (size_t i = 0; i < w->n; i++)
        if (strcmp(w->t[i].id, name) == 0)
            return &w->t[i].p;
    w->t = xrealloc(w->t, w->n + 1, sizeof *w->t);
    w->t[w->n] = (struct tracked){ .p = { 0 } };
    memcpy(w->t[w->n].id, name, sizeof name);
    return &w->t[w->n++].p;
}

static void print_progress(const struct out *o, const struct progress *p, const char *title)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_HEAD);
    progress_put(p, BAR, &b);
    if (b.len > 0)
        put(o, title, OUT_PLAIN, &b);
}

/* Looks at every number that should reach 0, and shows those that have not. */
static void print_all_progress(const struct out *o, struct watch *w, struct bytes v)
{
    struct bytes peers, id, none = { (const uint8_t *)"", 0 };
    bool ok = true;
    struct progress *p = track(w, none);
    progress_look(p, o->now_ms, number(v, "pending", "bytes"));
    print_progress(o, p, "receiving");
    if (!out_find(v, "peers", &peers))
        return;
    struct mp m = mp_reader(peers.p, peers.len);
    for (uint32_t n = mp_array(&m, LIMIT_MEMBERS); n > 0 && !m.failed; n--) {
        AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_CTL_REPLY);
        struct bytes peer = mp_skip(&m);
        if (!ctl_arg_bytes(&peer, "id", &id, &ok))
            continue;
        p = track(w, id);
        progress_look(p, o->now_ms, number(peer, "missing", "bytes"));
        add(o, &name, peer, "name", OUT_TEXT);
        buf_add(&name, "", 1);
        print_progress(o, p, buf_ok(&name) ? (const char *)name.data : "?");
    }
}

/* Where there is no terminal: one line whenever something changed. */
static void append_line(const struct out *o, struct watch *w, struct bytes v)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    const struct progress *p = track(w, (struct bytes){ (const uint8_t *)"", 0 });
    add(o, &b, v, "state", OUT_TEXT);
    buf_add_str(&b, ", ");
    add(o, &b, v, "pending.files", OUT_COUNT);
    buf_add_str(&b, " files to fetch");
    if (p->left) {
        buf_add_str(&b, ", ");
        progress_put(p, 0, &b);
    }
    screen_line(&w->screen, o->f, &b);
}

static void watch_show(struct cli *c, struct watch *w, struct bytes v)
{
    char *text = NULL;
    size_t len = 0;
    struct out o = c->out; /* the same, into memory: a picture is drawn at once or it flickers */
    o.now_ms = when_now();
    o.f = open_memstream(&text, &len);
    if (!o.f)
        return;
    print_status(&o, v);
    print_all_progress(&o, w, v);
    fclose(o.f);
    o.f = c->out.f;
    if (c->json)
        out_json(o.f, v);
    else if (isatty(fileno(o.f)))
        screen_draw(&w->screen, o.f, text);
    else
        append_line(&o, w, v);
    fflush(o.f);
    free(text);
}

static int ask_status(struct cli *c, struct watch *w)
{
    AUTO(request_release) struct request q = request_new("status");
    AUTO(link_close) struct link l = LINK_INIT;
    struct ctl_reply r;
    int code = link_ask(&l, c->home, &q, &r);
    if (code)
        return code;
    if (w)
        watch_show(c, w, r.value);
    else if (c->json)
        out_json(c->out.f, r.value);
    else
        print_status(&c->out, r.value);
    return 0;
}

int cmd_status(struct cli *c, const struct args *a)
{
    struct watch w = { .screen = SCREEN_INIT };
    if (!args_has(a, "watch"))
        return ask_status(c, NULL);
    int code;
    while ((code = ask_status(c, &w)) == 0 && !ferror(c->out.f))
        nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
    free(w.t);
    screen_release(&w.screen);
    return code;
}
