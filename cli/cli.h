/* cli: what a command of `lanyard` is, and what it gets.
 *
 * A command returns an exit code of the contract (proto/ctl.h): 0, or another one with the reason in err_text(), which main prints
 * as the one line "lanyard: REASON". Functions of this folder that are said to return an exit code follow the same rule; those of
 * proto return negative error codes, and `failed` turns one into the other. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <limits.h>
#include <stdbool.h>

#include "cli/out.h"
#include "proto/ctl.h"

struct cli_option {
    const char *name;         /* without the dashes; NULL ends a table */
    const char *arg;          /* how help names its argument; NULL: it has none */
    const char *text;
};

struct args;
struct cli {
    const char *home_given;   /* --home, or NULL */
    char home[PATH_MAX];
    bool json;
    bool silent;              /* the exit code is that of another program, which has said itself what was to be said */
    struct out out;           /* standard output */
};

struct command {
    const char *name;
    const char *args;         /* the rest of its usage line */
    const char *summary;      /* one line for the list */
    const char *help;         /* whole sentences, "" when the summary says it all */
    const struct cli_option *options;   /* NULL: none of its own */
    int min, max;             /* how many words must and may follow; max < 0: any number */
    bool no_json;             /* what it shows is not for programs */
    int (*run)(struct cli *c, const struct args *a);
};

/* err_set(ERR_USAGE, ...) as an exit code. */
#define usage_error(...) ((int)ctl_exit_code(err_set(ERR_USAGE, __VA_ARGS__)))
/* The exit code for a negative error code; 0 for anything else. */
static inline int failed(int rc) { return (int)ctl_exit_code(rc); }

int cmd_init(struct cli *c, const struct args *a);
int cmd_up(struct cli *c, const struct args *a);
int cmd_join(struct cli *c, const struct args *a);
int cmd_down(struct cli *c, const struct args *a);
int cmd_invite(struct cli *c, const struct args *a);
int cmd_status(struct cli *c, const struct args *a);
int cmd_wait(struct cli *c, const struct args *a);
int cmd_scan(struct cli *c, const struct args *a);
int cmd_pause(struct cli *c, const struct args *a);
int cmd_resume(struct cli *c, const struct args *a);
int cmd_devices(struct cli *c, const struct args *a);
int cmd_device(struct cli *c, const struct args *a);
int cmd_log(struct cli *c, const struct args *a);
int cmd_cat(struct cli *c, const struct args *a);
int cmd_restore(struct cli *c, const struct args *a);
int cmd_conflicts(struct cli *c, const struct args *a);
int cmd_resolve(struct cli *c, const struct args *a);
int cmd_require(struct cli *c, const struct args *a);
int cmd_gate(struct cli *c, const struct args *a);
int cmd_policy(struct cli *c, const struct args *a);
int cmd_gate_run(struct cli *c, const struct args *a);     /* of cmd_gate */
int cmd_snapshot(struct cli *c, const struct args *a);
int cmd_check(struct cli *c, const struct args *a);
int cmd_gc(struct cli *c, const struct args *a);
int cmd_config(struct cli *c, const struct args *a);
int cmd_events(struct cli *c, const struct args *a);
int cmd_audit(struct cli *c, const struct args *a);
int cmd_version(struct cli *c, const struct args *a);

#endif
