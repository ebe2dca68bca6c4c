/* ask: a request with one reply, and what is shown of it: its value as JSON with --json, else as `columns` say. All return exit
 * codes. */
#ifndef CLI_ASK_H
#define CLI_ASK_H

#include "cli/cli.h"
#include "cli/link.h"

typedef void ask_view(const struct cli *c, struct bytes value, const struct out_column *columns);
int ask(const struct cli *c, const struct request *q, ask_view *show, const struct out_column *columns);       /* NULL: nothing for people */
int ask_table(const struct cli *c, const struct request *q, const struct out_column *columns);     /* an array of maps: out_table */
int ask_rows(const struct cli *c, const struct request *q, const struct out_column *columns);      /* one map: out_rows */
int ask_quietly(const struct cli *c, const struct request *q);                                     /* nothing for people */

#endif
