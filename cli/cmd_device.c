/* What an admin does about the devices of the group. */
#include <string.h>

#include "cli/args.h"
#include "cli/ask.h"
#include "cli/secret.h"

static int check_words(const struct args *a)
{
    static const struct { const char *op; int words; const char *usage; } ops[] = {
        { "role", 3, "role NAME ROLE" }, { "rename", 3, "rename NAME NEW" }, { "revoke", 2, "revoke NAME" },
        { "recover", 1, "recover [--revoke NAME]" }, { "recovery", 2, "recovery new" },
    };
    const char *op = args_word(a, 0);
    if (args_has(a, "revoke") && strcmp(op, "recover") != 0)
        return usage_error("device %s: --revoke belongs to device recover", op);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (strcmp(op, ops[i].op) != 0)
            continue;
        if (a->words != ops[i].words)
            return usage_error("device %s: wrong number of words: usage: lanyard device %s", op, ops[i].usage);
        return 0;
    }
    return usage_error("device cannot \"%s\": use role NAME ROLE, rename NAME NEW, revoke NAME, recover or recovery new", op);
}

/* ---- recovery ---- */

static void show_recovery(const struct cli *c, struct bytes value, const struct out_column *columns)
{
    struct bytes phrase = { 0 };
    bool ok = true;
    out_rows(&c->out, value, columns);
    if (!ctl_arg_bytes(&value, "recovery", &phrase, &ok))
        return;
    fputs("Write down this new recovery phrase, which is shown only now. The one before is void:\n", c->out.f);
    fprintf(c->out.f, "%.*s\n", (int)phrase.len, (const char *)phrase.p);
}

static int ask_recovery(struct cli *c, const struct args *a, const struct out_column *columns)
{
    char phrase[LINE_MAX] = "";
    AUTO(request_release) struct request q = request_new("device");
    bool recover = strcmp(args_word(a, 0), "recover") == 0;
    if (!recover && strcmp(args_word(a, 1), "new") != 0)
        return usage_error("device recovery cannot \"%s\": use new", args_word(a, 1));
    int code = recover ? secret_read("Recovery phrase: ", phrase, sizeof phrase) : 0;
    request_str(&q, "op", args_word(a, 0));
    request_str(&q, "phrase", recover ? phrase : NULL);
    request_str(&q, "revoke", args_value(a, "revoke"));
    if (!code)
        code = ask(c, &q, show_recovery, columns);
    explicit_bzero(phrase, sizeof phrase);
    return code;
}

int cmd_device(struct cli *c, const struct args *a)
{
    static const struct out_column columns[] = {
        { "name", "device", OUT_TEXT, NULL, NULL },
        { "role", "role", OUT_TEXT, NULL, NULL },
        { "revoked", "state", OUT_FLAG, "revoked", "member" },
        { 0 },
    };
    int code = check_words(a);
    if (code)
        return code;
    if (strncmp(args_word(a, 0), "recover", strlen("recover")) == 0)
        return ask_recovery(c, a, columns);
    AUTO(request_release) struct request q = request_new("device");
    request_str(&q, "op", args_word(a, 0));
    request_str(&q, "name", args_word(a, 1));
    request_str(&q, "to", args_word(a, 2));
    return ask_rows(c, &q, columns);
}
