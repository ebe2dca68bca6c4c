/* require: what the files of that command share. */
#ifndef CLI_REQUIRE_H
#define CLI_REQUIRE_H

#include "cli/args.h"

/* cmd_receipts.c: words and all; exit codes. */
int require_export(struct cli *c, const struct args *a);
int require_verify(struct cli *c, const struct args *a);
/* cmd_require.c: a requirement with its group, and devices that have signed. */
void require_show_receipts(const struct cli *c, struct bytes v, bool csv);

#endif
