/* What an admin does about the devices of the group. */
#include <string.h>

#include "cli/args.h"
#include "cli/ask.h"

static int check_words(const struct args *a)
{
    static const struct { const char *op; int words; const char *usage; } ops[] = {
        { "role", 3, "role NAME ROLE" }, { "rename", 3, "rename NAME NEW" }, { "revoke", 2, "revoke NAME" },
    };
    const char *op = args_word(a, 0);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (strcmp(op, ops[i].op) != 0)
            continue;
        if (a->words != ops[i].words)
            return usage_error("device %s: wrong number of words: usage: lanyard device %s", op, ops[i].usage);
        return 0;
    }
    return usage_error("device cannot \"%s\": use role NAME ROLE, rename NAME NEW or revoke NAME", op);
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
    AUTO(request_release) struct request q = request_new("device");
    request_str(&q, "op", args_word(a, 0));
    request_str(&q, "name", args_word(a, 1));
    request_str(&q, "to", args_word(a, 2));
    return ask_rows(c, &q, columns);
}
