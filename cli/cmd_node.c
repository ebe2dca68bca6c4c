/* The commands that lanyardd itself carries out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/daemon.h"

/* FOLDER as it was given, else ~/Lanyard. */
static int folder_word(const char *given, char *out, size_t size)
{
    const char *user = getenv("HOME");
    if (!given && !(user && *user))
        return usage_error("no FOLDER was given and HOME is not set: name the folder");
    int n = given ? snprintf(out, size, "%s", given) : snprintf(out, size, "%s/Lanyard", user);
    if (n <= 0 || (size_t)n >= size)
        return usage_error("the name of the folder is empty or too long: give another one");
    return 0;
}

/* HOST:PORT; whether the host exists is for the node to find out. */
static int check_address(const char *option, const char *text)
{
    const char *colon = strrchr(text, ':');
    size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
    bool bare_v6 = colon && text[0] != '[' && strchr(text, ':') != colon;
    if (!colon || colon == text || digits == 0 || digits > 5 || colon[1 + digits] || strtol(colon + 1, NULL, 10) > 65535 || bare_v6)
        return usage_error("--%s: \"%s\" is no address: write HOST:PORT, 192.0.2.1:7447 or [2001:db8::1]:7447", option, text);
    return 0;
}

static int check_name(const char *name)
{
    if (name && !*name)
        return usage_error("--name: a device needs a name: give one or leave the option out");
    return 0;
}

int cmd_init(struct cli *c, const struct args *a)
{
    char folder[PATH_MAX];
    int code = check_name(args_value(a, "name"));
    if (!code)
        code = folder_word(args_word(a, 0), folder, sizeof folder);
    if (code)
        return code;
    AUTO(daemon_release) struct daemon d = daemon_new(c, "init");
    daemon_option(&d, "--name", args_value(a, "name"));
    if (args_has(a, "no-recovery"))
        daemon_add(&d, "--no-recovery");
    if (c->json)
        daemon_add(&d, "--json");
    daemon_option(&d, "--", folder);
    return daemon_exec(&d);
}

int cmd_join(struct cli *c, const struct args *a)
{
    char folder[PATH_MAX];
    const char *at = args_value(a, "at");
    int code = check_name(args_value(a, "name"));
    if (!code && at)
        code = check_address("at", at);
    if (!code)
        code = folder_word(args_word(a, 1), folder, sizeof folder);
    if (code)
        return code;
    AUTO(daemon_release) struct daemon d = daemon_new(c, "join");
    daemon_option(&d, "--name", args_value(a, "name"));
    daemon_option(&d, "--at", at);
    if (c->json)
        daemon_add(&d, "--json");
    daemon_option(&d, "--", args_word(a, 0));
    daemon_add(&d, folder);
    return daemon_exec(&d);
}

int cmd_up(struct cli *c, const struct args *a)
{
    AUTO(daemon_release) struct daemon d = daemon_new(c, "run");
    for (int i = 0; i < a->givens; i++) {
        const struct given *g = &a->given[i];
        char option[32];
        if (strcmp(g->option->name, "detach") == 0)
            continue;
        int code = g->value ? check_address(g->option->name, g->value) : 0;
        if (code)
            return code;
        snprintf(option, sizeof option, "--%s", g->option->name);
        daemon_add(&d, option);
        if (g->value)
            daemon_add(&d, g->value);
    }
    if (!args_has(a, "detach"))
        return daemon_exec(&d);
    char log[PATH_MAX + sizeof "/log"];
    snprintf(log, sizeof log, "%s/log", c->home);
    daemon_option(&d, "--log-file", log);
    return daemon_detach(&d, log);
}
