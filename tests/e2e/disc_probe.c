/* A node reduced to its discovery, for test_discovery.py. Prints one line for each event:
 *   state client|embedded|failed|starting TEXT
 *   found INSTANCE ours=0|1 hint=XX|- port=N pub=N addr=A,B,...
 *   lost INSTANCE
 * Options: --port N (0 = only browse), --pub N, --key TEXT (default: no key), --hint XX, --deadline SECONDS, --only IFNAME.
 * Commands on standard input, a line each: `hint XX`, `hint` (removes it), `quit`; its end is `quit` too. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "discovery/discovery.h"
#include "proto/keys.h"

static const char *only;            /* the interface named by --only */

static bool is_only(const char *ifname)
{
    return strcmp(ifname, only) == 0;
}

static void print_event(const struct disc_event *e)
{
    if (e->type == DISC_LOST) {
        printf("lost %s\n", e->instance);
        return;
    }
    printf("found %s ours=%d hint=%s port=%u pub=%u addr=", e->instance, e->ours, e->hint[0] ? e->hint : "-", e->port, e->pub_port);
    for (uint32_t i = 0; i < e->naddr; i++)
        printf("%s%s", i ? "," : "", e->addr[i]);
    printf("\n");
}

static void print_state(struct discovery *d)
{
    static const char *const NAME[] = { "starting", "client", "embedded", "failed" };
    static char before[512];
    char text[400], line[512];
    enum disc_backend at_work = discovery_state(d, text, sizeof text);
    snprintf(line, sizeof line, "state %s %s", NAME[at_work], text);
    if (strcmp(line, before) != 0)
        puts(line);
    memcpy(before, line, sizeof before);
}

/* False when the program is to end. */
static bool obey(struct discovery *d)
{
    char line[64];
    if (!fgets(line, sizeof line, stdin))
        return false;
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "hint", 4) == 0)
        discovery_hint(d, line[4] ? line + 5 : NULL);
    return strcmp(line, "quit") != 0;
}

/* The state has no descriptor to wait for, so it is asked for five times a second. */
static void loop(struct discovery *d, time_t deadline)
{
    struct disc_event e;
    bool on = true;
    while (on && time(NULL) < deadline) {
        struct pollfd fds[2] = { { .fd = discovery_fd(d), .events = POLLIN }, { .fd = STDIN_FILENO, .events = POLLIN } };
        poll(fds, 2, 200);
        while (discovery_next(d, &e))
            print_event(&e);
        print_state(d);
        if (fds[1].revents)
            on = obey(d);
        fflush(stdout);
    }
}

static uint16_t number(const char *s)
{
    return (uint16_t)strtoul(s, NULL, 10);
}

int main(int argc, char **argv)
{
    struct discovery_config c = { .port = 7447, .pub_port = 7448 };
    uint8_t key[32] = { 0 };
    const char *hint = NULL;
    time_t deadline = time(NULL) + 60;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (strcmp(name, "--port") == 0)
            c.port = number(value);
        else if (strcmp(name, "--pub") == 0)
            c.pub_port = number(value);
        else if (strcmp(name, "--hint") == 0)
            hint = value;
        else if (strcmp(name, "--deadline") == 0)
            deadline = time(NULL) + number(value);
        else if (strcmp(name, "--only") == 0)
            only = value, c.allow_interface = is_only;
        else if (strcmp(name, "--key") == 0)
            c.k_disc = memcpy(key, value, strnlen(value, sizeof key));
        else
            return fprintf(stderr, "disc_probe: %s: no such option\n", name), 2;
    }
    setvbuf(stdin, NULL, _IONBF, 0);    /* or lines would wait in the buffer where poll does not see them */
    struct discovery *d;
    if (keys_init() < 0 || discovery_start(&c, &d) < 0)
        return fprintf(stderr, "disc_probe: %s\n", err_text()), 1;
    if (hint)
        discovery_hint(d, hint);
    loop(d, deadline);
    discovery_stop(&d);
    return 0;
}
