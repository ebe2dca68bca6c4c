/* save: a file that is written whole or not at all, and takes nobody's place. */
#ifndef CLI_SAVE_H
#define CLI_SAVE_H

#include <stdio.h>

/* Calls write(arg, file), which returns an exit code, and gives the file its name when all of it is there and durable. An exit code: 1 also
 * when there is something of that name already. */
int save_file(const char *name, int (*write)(void *arg, FILE *to), void *arg);

#endif
