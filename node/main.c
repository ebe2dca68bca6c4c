/* lanyardd: the node. `lanyardd [--home DIR] run|init|join|config ...`; people use `lanyard`, which starts it. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "node/log.h"
#include "node/node_priv.h"
#include "node/notify.h"
#include "node/setup.h"
#include "proto/ctl.h"
#include "store/database.h"

static const char usage[] =
    "usage: lanyardd [--home DIR] run [--listen ADDR:PORT] [--no-mdns] [--peer HOST:PORT]... [--log-file FILE]\n"
    "       lanyardd [--home DIR] init [--name DEVICE] [--no-recovery] [--json] FOLDER\n"
    "       lanyardd [--home DIR] join [--name DEVICE] [--at HOST:PORT] [--json] CODE FOLDER\n"
    "       lanyardd [--home DIR] config list|get KEY|set KEY VALUE [--json]\n";

/* ---- signals ---- */

/* Blocked in every thread, read from a descriptor: no system call of a worker is ever interrupted. SIGIO is what the kernel sends when a
 * file lease is broken: we give leases back at once and need no word about it. */
static int block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);             /* the terminal of a node in the foreground was closed */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGIO, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);            /* ignored, the end of a helper process would go unheard */
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

struct stopper { struct node *node; int fd; };

static void on_signal(void *arg)
{
    struct stopper *s = arg;
    struct signalfd_siginfo info;
    if (read(s->fd, &info, sizeof info) == sizeof info)
        node_stop(s->node);
}

/* A connection, a download and a watched folder each take descriptors. */
static void raise_limits(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        setrlimit(RLIMIT_NOFILE, &l);
    }
}

/* ---- run ---- */

static void say_ready(struct node *n)
{
    const struct group *g = control_group(n->home->control);
    const struct member *m = group_find(g, &n->home->keys->dev);
    char hex[ID_HEX];
    printf("lanyard: ready, device %s (%s), listening on %s\n", m ? m->card.name : "?", id_hex(&n->home->keys->dev, hex),
           net_address(n->net));
    fflush(stdout);
}

/* One life of the node. *again: it asks for another, at the same address. */
static int run_once(const char *home, struct node_options *o, int sigfd, bool first, bool *again, char *address, size_t size)
{
    struct node *n;
    int r = node_new(home, o, &n);
    *again = false;
    if (r < 0)
        return r;
    struct stopper s = {n, sigfd};
    loop_add_fd(n->loop, sigfd, POLLIN, on_signal, &s);
    if (first)
        say_ready(n);
    r = node_run(n, again);
    snprintf(address, size, "%s", net_address(n->net));
    node_free(&n);
    return r;
}

static int parse_run(int argc, char **argv, struct node_options *o, const char **peer, const char **log_file)
{
    static const struct option options[] = {{"listen", required_argument, NULL, 'l'}, {"no-mdns", no_argument, NULL, 'n'},
        {"peer", required_argument, NULL, 'p'}, {"log-file", required_argument, NULL, 'f'}, {0}};
    optind = 1;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1; )
        switch (c) {
        case 'l':
            o->listen = optarg;
            break;
        case 'n':
            o->no_mdns = true;
            break;
        case 'p':
            peer[o->npeer++] = optarg;
            break;
        case 'f':
            *log_file = optarg;
            break;
        default:
            return ERR_USAGE;
        }
    return optind == argc ? 0 : ERR_USAGE;
}

static int run(const char *home, int argc, char **argv)
{
    const char *log_file = NULL;
    AUTOFREE const char **peer = xcalloc((unsigned long)argc + 1, sizeof *peer);
    struct node_options o = {.peer = peer};
    if (parse_run(argc, argv, &o, peer, &log_file) < 0) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    int fd = block_signals();
    raise_limits();
    int r = log_open(log_file);
    if (r == 0)
        r = keys_init();
    char address[96];
    bool again = r == 0, first = true;
    while (r == 0 && again) {
        r = run_once(home, &o, fd, first, &again, address, sizeof address);
        first = false;
        o.listen = address;
    }
    return r < 0 ? setup_failed(r) : EXIT_DONE;
}

int main(int argc, char **argv)
{
    static const struct { const char *name; int (*fn)(const char *home, int argc, char **argv); } command[] = {
        {"run", run}, {"init", setup_init}, {"join", setup_join}, {"config", setup_config},
    };
    if (argc > 1 && strcmp(argv[1], DATABASE_HELPER) == 0)
        return database_helper(argc, argv);
    if (argc == 2 && strcmp(argv[1], NOTIFY_HELPER) == 0)
        return notify_helper();
    const char *given = NULL;
    int at = 1;
    if (argc > 2 && strcmp(argv[1], "--home") == 0) {
        given = argv[2];
        at = 3;
    }
    char home[4096];
    int r = ctl_home(given, home, sizeof home);
    if (r < 0)
        return setup_failed(r);
    for (size_t i = 0; at < argc && i < sizeof command / sizeof *command; i++)
        if (strcmp(argv[at], command[i].name) == 0)
            return command[i].fn(home, argc - at, argv + at);
    fputs(usage, stderr);
    return EXIT_USAGE;
}
