#include "cli/args.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/when.h"

const struct cli_option global_options[] = {
    { "home", "DIR", "the home directory (default: $LANYARD_HOME, $XDG_DATA_HOME/lanyard, ~/.local/share/lanyard)" },
    { "json", NULL, "print one JSON value instead of text for people" },
    { "help", NULL, "show this help" },
    { "version", NULL, "show the version of this program" },
    { 0 },
};

#define FAR 3         /* a word this many edits away is not meant */
#define WORD_MAX 32u  /* longer ones are not compared */

/* Levenshtein's distance, one row at a time. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[WORD_MAX + 1];
    size_t la = strlen(a), lb = strlen(b);
    if (la > WORD_MAX || lb > WORD_MAX)
        return FAR;
    for (unsigned j = 0; j <= lb; j++)
        row[j] = j;
    for (unsigned i = 1; i <= la; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= lb; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[lb];
}

/* Remembers `name` in *best when it is nearer to `typed` than what was there. What is wholly different is never near. */
static void nearer(const char *typed, const char *name, const char **best, unsigned *at)
{
    unsigned d = distance(typed, name);
    if (d < *at && d < strlen(name)) {
        *best = name;
        *at = d;
    }
}

static const char *nearest_option(const struct cli_option *o, const char *typed, const char *best, unsigned *at)
{
    for (; o && o->name; o++)
        nearer(typed, o->name, &best, at);
    return best;
}

const struct command *command_find(const struct command *commands, const char *name)
{
    for (const struct command *c = commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

int command_unknown(const struct command *commands, const char *name)
{
    const char *best = NULL;
    unsigned at = FAR;
    for (const struct command *c = commands; c->name; c++)
        nearer(name, c->name, &best, &at);
    if (best)
        return usage_error("unknown command \"%s\": did you mean \"%s\"?", name, best);
    return usage_error("unknown command \"%s\": `lanyard help` lists them all", name);
}

static int option_unknown(const struct args *a, const char *word)
{
    char name[WORD_MAX + 2]; /* without dashes and value; one that is too long stays too long to compare */
    snprintf(name, sizeof name, "%s", word + strspn(word, "-"));
    name[strcspn(name, "=")] = '\0';
    unsigned at = FAR;
    const char *best = nearest_option(global_options, name, NULL, &at);
    if (a->command)
        best = nearest_option(a->command->options, name, best, &at);
    int len = (int)strcspn(word, "=");
    if (best)
        return usage_error("unknown option %.*s: did you mean --%s?", len, word, best);
    if (a->command)
        return usage_error("unknown option %.*s: see `lanyard %s --help`", len, word, a->command->name);
    return usage_error("unknown option %.*s: see `lanyard help`", len, word);
}

static const struct cli_option *option_find(const struct cli_option *o, const char *name, size_t len)
{
    for (; o && o->name; o++)
        if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
            return o;
    return NULL;
}

static void take_global(struct args *a, const struct cli_option *o, const char *value)
{
    if (value)
        a->home = value;
    else if (strcmp(o->name, "json") == 0)
        a->json = true;
    else if (strcmp(o->name, "help") == 0)
        a->help = true;
    else
        a->version = true;
}

/* One option at argv[*i]; moves *i onto its value when that is a word of its own. */
static int take_option(struct args *a, int argc, char **argv, int *i)
{
    const char *word = argv[*i], *name = word + strspn(word, "-"), *value = NULL;
    size_t len = strcspn(name, "=");
    bool dashes = strncmp(word, "--", 2) == 0;
    const struct cli_option *own = dashes && a->command ? option_find(a->command->options, name, len) : NULL;
    const struct cli_option *o = own ? own : dashes ? option_find(global_options, name, len) : NULL;
    if (strcmp(word, "-h") == 0)
        o = option_find(global_options, "help", 4);
    if (!o)
        return option_unknown(a, word);
    if (name[len] == '=')
        value = name + len + 1;
    if (value && !o->arg)
        return usage_error("--%s takes no value: write it without \"=%s\"", o->name, value);
    if (o->arg && !value && *i + 1 < argc)
        value = argv[++*i];
    if (o->arg && !value)
        return usage_error("--%s lacks its value: write --%s %s", o->name, o->name, o->arg);
    if (own)
        a->given[a->givens++] = (struct given){ own, value };
    else
        take_global(a, o, value);
    return 0;
}

int args_parse(struct args *a, const struct command *commands, int argc, char **argv)
{
    *a = (struct args){ .word = xcalloc((size_t)argc + 1, sizeof *a->word), .given = xcalloc((size_t)argc + 1, sizeof *a->given) };
    bool options = true;
    for (int i = 1; i < argc; i++) {
        int code = 0;
        if (options && strcmp(argv[i], "--") == 0)
            options = false;
        else if (options && argv[i][0] == '-' && argv[i][1])
            code = take_option(a, argc, argv, &i);
        else if (a->command)
            a->word[a->words++] = argv[i];
        else if (!(a->command = command_find(commands, argv[i])))
            code = command_unknown(commands, argv[i]);
        if (code)
            return code;
    }
    return 0;
}

void args_release(struct args *a)
{
    free(a->word);
    free(a->given);
    *a = (struct args){ 0 };
}

int args_check(const struct args *a)
{
    const struct command *c = a->command;
    if (a->words < c->min)
        return usage_error("%s: something is missing: usage: lanyard %s %s", c->name, c->name, c->args);
    if (c->max >= 0 && a->words > c->max)
        return usage_error("%s: \"%s\" is one word too many: usage: lanyard %s%s%s", c->name, a->word[c->max], c->name,
                           *c->args ? " " : "", c->args);
    if (a->json && c->no_json)
        return usage_error("%s has no --json: leave it out", c->name);
    return 0;
}

bool args_has(const struct args *a, const char *option)
{
    for (int i = 0; i < a->givens; i++)
        if (strcmp(a->given[i].option->name, option) == 0)
            return true;
    return false;
}

const char *args_value(const struct args *a, const char *option)
{
    const char *value = NULL;
    for (int i = 0; i < a->givens; i++)
        if (strcmp(a->given[i].option->name, option) == 0)
            value = a->given[i].value;
    return value;
}

const char *args_word(const struct args *a, int i)
{
    return i < a->words ? a->word[i] : NULL;
}

int args_duration(const struct args *a, const char *option, int64_t *ms)
{
    const char *text = args_value(a, option);
    if (text && !when_duration(text, ms))
        return usage_error("--%s: \"%s\" is no duration: write 90s, 15m, 2h or a number of seconds", option, text);
    return 0;
}

int args_number(const struct args *a, const char *option, uint64_t max, uint64_t *v)
{
    const char *text = args_value(a, option);
    if (!text)
        return 0;
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || n > max)
        return usage_error("--%s: \"%s\" is no number from 0 to %llu: give one", option, text, (unsigned long long)max);
    *v = n;
    return 0;
}

static bool is_among(const char *words, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = words; *p && (p = strstr(p, word)); p++)
        if ((p == words || p[-1] == ' ') && (p[len] == ' ' || !p[len]))
            return true;
    return false;
}

int args_check_uses(const struct args *a, const char *word, const struct option_use *uses)
{
    for (; uses->option; uses++)
        if (args_has(a, uses->option) && !is_among(uses->words, word))
            return usage_error("%s: --%s is only for %s", a->command->name, uses->option, uses->what);
    return 0;
}
