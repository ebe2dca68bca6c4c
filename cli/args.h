/* args: the words of the command line, read against the tables of commands and options.
 *
 * Options may stand anywhere before "--". In front of the command only the global ones are known; behind it the command's own
 * come first, so that `lanyard cat --version ID` is what it looks like. "--name VALUE" and "--name=VALUE" mean the same. */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include "cli/cli.h"

extern const struct cli_option global_options[];

struct given { const struct cli_option *option; const char *value; };
struct args {
    const struct command *command;  /* NULL: none was named */
    const char **word;              /* what follows it; borrowed from argv */
    int words;
    struct given *given;            /* in the order of the command line */
    int givens;
    const char *home;               /* the global options */
    bool json, help, version;
};

/* An exit code: EXIT_USAGE names the wrong word and the nearest right one. Release in any case. */
int args_parse(struct args *a, const struct command *commands, int argc, char **argv);
void args_release(struct args *a);
/* Whether the number of words fits the command and --json is not asked of one that has none: an exit code. */
int args_check(const struct args *a);
/* Options that belong to some of a command's first words only (words: with spaces between; what: those for the user). The table ends with
 * option NULL. One that means nothing to what is asked for would be forgotten in silence: an exit code. */
struct option_use { const char *option, *words, *what; };
int args_check_uses(const struct args *a, const char *word, const struct option_use *uses);

const struct command *command_find(const struct command *commands, const char *name);
/* EXIT_USAGE with the nearest command's name. */
int command_unknown(const struct command *commands, const char *name);

bool args_has(const struct args *a, const char *option);
const char *args_value(const struct args *a, const char *option);              /* the last one; NULL when absent */
const char *args_word(const struct args *a, int i);                           /* NULL when absent */
/* The last one as milliseconds ("15m", "90s", "1h30m", plain seconds) into *ms, which stays as it was when absent: an exit code. */
int args_duration(const struct args *a, const char *option, int64_t *ms);
/* The last one as a whole number 0..max into *v, which stays as it was when absent: an exit code. */
int args_number(const struct args *a, const char *option, uint64_t max, uint64_t *v);

#endif
