/* gate run: a program that runs only while this device is not locked. The node tells at each change. While the node is away the
 * program stays as it is, running or stopped, and the node is asked again as soon as it is back. */
#include <poll.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/child.h"
#include "cli/link.h"

#define RETRY_MS 500
#define GRACE_MS 10000

struct run {
    const struct cli *c;
    struct child child;
    struct link l;
    int signals;                  /* a signalfd */
    bool term;                    /* --term */
    int64_t grace;                /* --grace, in ms */
    bool locked;
    bool ending;                  /* --term, and a lock has come */
    uint64_t retry_at, grace_at;  /* 0: not set */
};

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* "lanyard: WHAT: ANNA requires another version first: MESSAGE". Both are the words of others. */
static void say(const char *what, struct bytes gate)
{
    AUTO(buf_release) struct buf line = BUF_INIT(8192);
    struct bytes by = { 0 }, message = { 0 };
    bool ok = true;
    buf_add_str(&line, what);
    if (ctl_arg_bytes(&gate, "by", &by, &ok)) {
        buf_add_str(&line, ": ");
        out_safe(&line, by, false);
        buf_add_str(&line, " requires another version first");
        if (ctl_arg_bytes(&gate, "message", &message, &ok) && message.len > 0) {
            buf_add_str(&line, ": ");
            out_safe(&line, message, false);
        }
    }
    fprintf(stderr, "lanyard: %.*s\n", (int)line.len, (const char *)line.data);
}

static bool is_locked(struct bytes gate)
{
    bool locked = false, ok = true;
    ctl_arg_bool(&gate, "locked", &locked, &ok);
    return locked;
}

/* ---- the node ---- */

static int follow(struct run *r)
{
    AUTO(request_release) struct request q = request_new("gate");
    request_str(&q, "op", "follow");
    int code = link_open(&r->l, r->c->home);
    return code ? code : link_send(&r->l, &q);
}

/* The program is not started before: whatever is wrong is the caller's to see. */
static int wait_for_unlock(struct run *r)
{
    struct ctl_reply reply = { 0 };
    bool said = false;
    int code = follow(r);
    while (!code && !(code = link_next(&r->l, &reply)) && is_locked(reply.value)) {
        if (!said)
            say("waiting", reply.value);
        said = true;
    }
    if (code == EXIT_FAILED && !reply.code)
        code = EXIT_NOT_RUNNING;  /* it ended while we waited */
    return code;
}

static void leave(struct run *r)
{
    link_close(&r->l);
    r->l = (struct link)LINK_INIT;
    r->retry_at = now() + RETRY_MS;
}

static void come_back(struct run *r)
{
    r->retry_at = 0;
    if (follow(r))
        leave(r);
}

/* ---- the program ---- */

/* Words come after deeds: whoever reads them may be slow, and stop us. */
static void lock(struct run *r, struct bytes gate)
{
    if (!r->term) {
        child_hold(&r->child);
        say("stopped", gate);
        return;
    }
    r->ending = true;
    r->grace_at = now() + (uint64_t)r->grace;
    child_signal_all(&r->child, SIGTERM);
    child_release(&r->child);
    say("ending the program", gate);
}

static void unlock(struct run *r, struct bytes gate)
{
    if (r->ending)
        return;
    r->grace_at = 0;
    child_release(&r->child);
    say("going on", gate);
}

static void obey(struct run *r, struct bytes gate)
{
    bool was = r->locked;
    r->locked = is_locked(gate);
    if (r->locked && !was && !r->ending)
        lock(r, gate);
    else if (!r->locked && was)
        unlock(r, gate);
}

/* Of whoever is no member any more nothing is required. */
static void lose_node(struct run *r, int code)
{
    leave(r);
    if (code != EXIT_DENIED || !r->locked)
        return;
    r->locked = false;
    unlock(r, (struct bytes){ 0 });
}

/* All that has come: more may have been received at once. */
static void on_gate(struct run *r)
{
    do {
        struct ctl_reply reply = { 0 };
        int code = link_next(&r->l, &reply);
        if (code || !reply.more)
            lose_node(r, code);
        else
            obey(r, reply.value);
    } while (link_ready(&r->l));
}

static void on_grace(struct run *r)
{
    r->grace_at = 0;
    if (r->ending)
        child_signal_all(&r->child, SIGKILL);
    else if (r->locked)
        child_hold(&r->child);
}

/* A held program is let go on for a while, so that it can do what it was told; most are told to end. */
static void pass_on(struct run *r, int number)
{
    if (r->child.over)
        return;
    child_signal(&r->child, number);
    if (!r->child.held)
        return;
    child_release(&r->child);
    r->grace_at = now() + (uint64_t)r->grace;
}

/* True: the program has ended; when it was to end, with all that it has started. */
static bool on_child(struct run *r, int *code)
{
    return child_look(&r->child, code) && (!r->ending || child_all_over(&r->child));
}

static bool on_signal(struct run *r, int *code)
{
    struct signalfd_siginfo s;
    if (read(r->signals, &s, sizeof s) != sizeof s)
        return false;
    int number = (int)s.ssi_signo;
    if (number == SIGCHLD)
        return on_child(r, code);
    if (number != SIGTSTP)
        pass_on(r, number);
    else if (!r->child.over)
        child_suspend(&r->child);
    return false;
}

/* ---- waiting for all of them ---- */

static int timeout(const struct run *r)
{
    uint64_t next = r->retry_at, at = now();
    if (r->grace_at && (!next || r->grace_at < next))
        next = r->grace_at;
    return !next ? -1 : next > at ? (int)(next - at) : 0;
}

static int watch(struct run *r)
{
    int code = 0;
    if (link_ready(&r->l))
        on_gate(r);
    for (;;) {
        struct pollfd p[] = { { .fd = r->signals, .events = POLLIN }, { .fd = r->l.fd, .events = POLLIN } };
        poll(p, 2, timeout(r));   /* one that fails shows nothing */
        if (p[0].revents && on_signal(r, &code))
            return code;
        if (p[1].revents)
            on_gate(r);
        if (r->grace_at && now() >= r->grace_at)
            on_grace(r);
        if (r->retry_at && now() >= r->retry_at)
            come_back(r);
    }
}

static int run(struct run *r, char *const argv[], bool *silent)
{
    static const int taken[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCHLD };
    sigset_t set, was;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        sigaddset(&set, taken[i]);
    r->signals = signalfd(-1, &set, SFD_CLOEXEC);
    sigaddset(&set, SIGTTOU);     /* cli/child.h */
    sigaddset(&set, SIGPIPE);
    sigprocmask(SIG_BLOCK, &set, &was);
    if (r->signals < 0)
        return failed(err_set(ERR_IO, "signalfd: %m"));
    int code = child_start(&r->child, argv, &was);
    if (!code) {
        code = watch(r);
        *silent = !r->ending;
        child_end(&r->child);
    }
    if (r->ending)
        code = failed(err_set(ERR_LOCKED, "%s was ended: another version is required first: `lanyard gate` shows how far it is", argv[0]));
    close(r->signals);
    return code;
}

int cmd_gate_run(struct cli *c, const struct args *a)
{
    struct run r = { .c = c, .child = CHILD_INIT, .l = LINK_INIT, .term = args_has(a, "term"), .grace = GRACE_MS };
    int code = args_duration(a, "grace", &r.grace);
    if (code)
        return code;
    if (!args_word(a, 1))
        return usage_error("gate run: the program is missing: usage: lanyard gate run [--term] [--grace DURATION] -- CMD [ARGUMENT]...");
    if (c->json)
        return usage_error("gate run has no --json: leave it out, or write it behind --");
    code = wait_for_unlock(&r);
    if (!code)
        code = run(&r, (char *const *)(a->word + 1), &c->silent);
    link_close(&r.l);
    return code;
}
