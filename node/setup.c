#include "node/setup.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/config.h"
#include "node/file.h"
#include "node/home.h"
#include "node/joiner.h"
#include "node/loop.h"
#include "proto/ctl.h"
#include "proto/path.h"
#include "proto/phrase.h"

/* ---- arguments ---- */

struct args { const char *name, *at; bool json, no_recovery; int words; char **word; };

int setup_failed(int err)
{
    fprintf(stderr, "lanyard: %s\n", err_text());
    return (int)ctl_exit_code(err);
}

static int take(struct args *a, int option, const char *command, const char *word)
{
    switch (option) {
    case 'n': a->name = optarg; return 0;
    case 'a': a->at = optarg; return 0;
    case 'j': a->json = true; return 0;
    case 'r': a->no_recovery = true; return 0;
    case ':': return err_set(ERR_USAGE, "%s: %s needs an argument", command, word);
    default: return err_set(ERR_USAGE, "%s: there is no option %s", command, word);
    }
}

/* Options of one command; what is not one of `allowed` is refused. */
static int parse(int argc, char **argv, const struct option *allowed, int min, int max, struct args *a)
{
    int option, r = 0;
    *a = (struct args){0};
    optind = 0;                                  /* glibc: start anew */
    opterr = 0;
    while (r == 0 && (option = getopt_long(argc, argv, "+:", allowed, NULL)) != -1)
        r = take(a, option, argv[0], argv[optind - 1]);
    if (r < 0)
        return r;
    a->words = argc - optind;
    a->word = argv + optind;
    if (a->words < min || a->words > max)
        return err_set(ERR_USAGE, "%s: wrong number of words", argv[0]);
    return 0;
}

/* An absolute path, with links resolved as far as there is something. */
static int absolute(const char *typed, char out[static PATH_MAX])
{
    char cwd[PATH_MAX];
    if (*typed == '\0')
        return err_set(ERR_USAGE, "the name of the folder is empty: name a directory");
    if (realpath(typed, out))
        return 0;
    if (errno != ENOENT)
        return err_set(ERR_IO, "folder %s: %m", typed);
    if (*typed != '/' && !getcwd(cwd, sizeof cwd))
        return err_set(ERR_IO, "working directory: %m");
    int n = *typed == '/' ? snprintf(out, PATH_MAX, "%s", typed) : snprintf(out, PATH_MAX, "%s/%s", cwd, typed);
    while (n > 1 && n < PATH_MAX && out[n - 1] == '/')
        out[--n] = '\0';
    return n < PATH_MAX ? 0 : err_set(ERR_USAGE, "folder %s: too long a path", typed);
}

static int device_name(const char *given, char out[static LIMIT_DEVICE_NAME + 1])
{
    if (!given) {
        home_default_name(out);
        return 0;
    }
    if (device_name_check(given) < 0) {
        AUTOFREE char *why = xstrdup(err_text());
        return err_set(ERR_USAGE, "--name: %s", why);
    }
    memcpy(out, given, strlen(given) + 1);
    return 0;
}

/* ---- results ---- */

/* As the command line prints it: bytes that are no UTF-8 become lone surrogates, from which they can be had back. */
static void put_json(const char *s)
{
    const uint8_t *p = (const uint8_t *)s, *end = p + strlen(s);
    putchar('"');
    while (p < end) {
        uint32_t rune = 0;
        size_t len = utf8_decode(p, (size_t)(end - p), &rune);
        if (len == 0)
            printf("\\udc%02x", *p);
        else if (rune == '"' || rune == '\\')
            printf("\\%c", *p);
        else if (utf8_is_control(rune) && rune < 0x10000)
            printf("\\u%04x", rune);
        else
            fwrite(p, 1, len, stdout);
        p += len ? len : 1;
    }
    putchar('"');
}

static void put_member(const char *before, const char *key, const char *value)
{
    printf("%s\"%s\": ", before, key);
    put_json(value);
}

/* For people: what could drive a terminal is shown as '?'. */
static void put_plain(const char *s)
{
    for (; *s; s++)
        putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

/* What a device has become. phrase: of the group that it has founded, "" for none; NULL: it has joined one. */
static void show_json(const struct home *h, const struct member *self, const char *folder, const char *phrase)
{
    char dev[ID_HEX], group[ID_HEX];
    put_member("{\"device\": {", "id", id_hex(&h->keys->dev, dev));
    put_member(", ", "name", self->card.name);
    put_member(", ", "role", role_name(self->role));
    put_member("}, \"group\": {", "id", id_hex(&h->group_keys->group, group));
    put_member("}, ", "folder", folder);
    if (phrase && *phrase)
        put_member(", ", "recovery", phrase);
    else if (phrase)
        fputs(", \"recovery\": null", stdout);
    puts("}");
}

static void show_founded(const struct home *h, const struct member *self, const char *folder, const char *phrase)
{
    char print[FINGERPRINT_LEN];
    printf("device %s (%s) founded a new group; folder ", self->card.name, id_fingerprint(&h->keys->dev, print));
    put_plain(folder);
    puts("; start with: lanyard up");
    if (*phrase)
        printf("Write down this recovery phrase, which is shown only now. With it another device becomes owner when this one is lost:\n%s\n", phrase);
}

/* Reads back what has been made: what is shown is what a node will find. */
static int show(const char *home, const char *folder, bool json, const char *phrase)
{
    struct home *h;
    int r = home_open(home, &h);
    if (r < 0)
        return r;
    const struct group *g = control_group(h->control);
    const struct member *self = group_find(g, &h->keys->dev);
    if (json)
        show_json(h, self, folder, phrase);
    else if (phrase)
        show_founded(h, self, folder, phrase);
    else
        printf("joined the group of %s as %s; start with: lanyard up\n", g->member[0].card.name, self->card.name);
    home_close(&h, false);
    return fflush(stdout) == 0 ? 0 : err_set(ERR_IO, "standard output: %m");
}

/* ---- init ---- */

/* A new phrase, and the public key that stands for it. */
static int make_phrase(char phrase[static PHRASE_TEXT], struct id *key)
{
    struct device_keys *k = device_keys_empty();
    phrase_generate(phrase);
    int r = phrase_keys(phrase, k);
    *key = k->dev;
    device_keys_free(&k);
    return r;
}

static int found(const char *home, const char *name, const char *folder, const struct id *recovery)
{
    struct device_keys *keys = device_keys_new();
    struct card c = {.dev = keys->dev, .created_ms = loop_wall()};
    memcpy(c.tr_pk, keys->tr_pk, sizeof c.tr_pk);
    memcpy(c.name, name, strlen(name) + 1);
    AUTO(buf_release) struct buf card = BUF_INIT(LIMIT_HEAD);
    int r = card_encode(&card, &c, keys);
    struct home_parts parts = {.keys = keys, .card = {card.data, card.len}, .folder = folder, .recovery = *recovery};
    if (r == 0)
        r = home_create(home, &parts);
    device_keys_free(&keys);
    return r;
}

int setup_init(const char *home, int argc, char **argv)
{
    static const struct option options[] = {{"name", 1, NULL, 'n'}, {"no-recovery", 0, NULL, 'r'}, {"json", 0, NULL, 'j'}, {0}};
    struct args a;
    struct id recovery = ID_NONE;
    char folder[PATH_MAX], name[LIMIT_DEVICE_NAME + 1], phrase[PHRASE_TEXT] = "";
    int r = parse(argc, argv, options, 1, 1, &a);
    if (r == 0)
        r = device_name(a.name, name);
    if (r == 0)
        r = absolute(a.word[0], folder);
    if (r == 0)
        r = keys_init();
    if (r == 0)
        r = home_vacant(home);                   /* before the phrase, which takes a moment */
    if (r == 0 && !a.no_recovery)
        r = make_phrase(phrase, &recovery);
    if (r == 0)
        r = found(home, name, folder, &recovery);
    if (r == 0)
        r = show(home, folder, a.json, phrase);
    sodium_memzero(phrase, sizeof phrase);
    return r < 0 ? setup_failed(r) : 0;
}

/* ---- join ---- */

int setup_join(const char *home, int argc, char **argv)
{
    static const struct option options[] = {{"name", 1, NULL, 'n'}, {"at", 1, NULL, 'a'}, {"json", 0, NULL, 'j'}, {0}};
    struct args a;
    char folder[PATH_MAX], name[LIMIT_DEVICE_NAME + 1], code[CODE_TEXT];
    int r = parse(argc, argv, options, 2, 2, &a);
    if (r == 0)
        r = device_name(a.name, name);
    if (r == 0)
        r = absolute(a.word[1], folder);
    if (r == 0)
        r = keys_init();
    if (r == 0)
        r = code_normalise(a.word[0], code);
    if (r == 0)
        r = joiner_run(&(struct joiner_request){.home = home, .folder = folder, .name = name, .code = code, .at = a.at});
    if (r == 0)
        r = show(home, folder, a.json, NULL);
    return r < 0 ? setup_failed(r) : 0;
}

/* ---- config ---- */

static void put_key(const struct config *c, const struct config_key *k, bool json)
{
    if (!json) {
        printf("%-10s ", k->key);
        put_plain(config_text(c, k));
        printf("\n           (%s, default \"%s\") %s\n", k->type, k->def, k->help);
        return;
    }
    put_member("{", "key", k->key);
    put_member(", ", "value", config_text(c, k));
    put_member(", ", "default", k->def);
    put_member(", ", "type", k->type);
    put_member(", ", "help", k->help);
    putchar('}');
}

static int config_list(const char *path, const struct args *a)
{
    AUTO(config_release) struct config c = {0};
    int r = config_load(path, &c);
    if (r < 0)
        return r;
    printf("%s", a->json ? "[" : "");
    for (const struct config_key *k = config_keys; k->key; k++) {
        printf("%s", a->json && k != config_keys ? ", " : "");
        put_key(&c, k, a->json);
    }
    printf("%s", a->json ? "]\n" : "");
    return 0;
}

static int config_show(const char *path, const struct args *a)
{
    AUTO(config_release) struct config c = {0};
    const struct config_key *k;
    int r = config_find(a->word[0], &k);
    if (r == 0)
        r = config_load(path, &c);
    if (r < 0)
        return r;
    if (a->json)
        put_key(&c, k, true);
    else
        put_plain(config_text(&c, k));
    putchar('\n');
    return 0;
}

static int config_change(const char *path, const struct args *a)
{
    int r = config_set(path, a->word[0], a->word[1]);
    return r < 0 || !a->json ? r : config_show(path, a);
}

static int config_run(const char *home, int argc, char **argv)
{
    static const struct { const char *name; int words; int (*run)(const char *path, const struct args *a); } ops[] = {
        {"list", 0, config_list}, {"get", 1, config_show}, {"set", 2, config_change},
    };
    static const struct option options[] = {{"json", 0, NULL, 'j'}, {0}};
    AUTOFREE char *path = file_in(home, "config");
    for (size_t i = 0; argc > 1 && i < sizeof ops / sizeof *ops; i++) {
        struct args a;
        if (strcmp(argv[1], ops[i].name) != 0)
            continue;
        int r = parse(argc - 1, argv + 1, options, ops[i].words, ops[i].words, &a);
        if (r == 0)
            r = ops[i].run(path, &a);
        return r == ERR_NOTFOUND ? err_set(r, "home %s: no device here: run lanyard init or lanyard join", home) : r;
    }
    return err_set(ERR_USAGE, "config: use list, get KEY or set KEY VALUE");
}

int setup_config(const char *home, int argc, char **argv)
{
    int r = config_run(home, argc, argv);
    if (r == 0 && fflush(stdout) != 0)
        r = err_set(ERR_IO, "standard output: %m");
    return r < 0 ? setup_failed(r) : 0;
}
