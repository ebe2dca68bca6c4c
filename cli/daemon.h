/* daemon: running the node's binary, lanyardd. It lies beside this program, or somewhere in PATH. */
#ifndef CLI_DAEMON_H
#define CLI_DAEMON_H

#include "cli/cli.h"

/* The argument vector being built: "lanyardd", --home when it was given, then what is added. */
struct daemon { char **argv; size_t argc; };
struct daemon daemon_new(const struct cli *c, const char *command);
void daemon_add(struct daemon *d, const char *word);
void daemon_option(struct daemon *d, const char *name, const char *value);  /* --name VALUE; nothing when value is NULL */
void daemon_release(struct daemon *d);

/* Becomes lanyardd. Returns only when that fails: an exit code. */
int daemon_exec(struct daemon *d);
/* Starts it in the background, in a session of its own, and returns when it has printed its ready line, which is passed on; or
 * when it has ended: then with its exit code, and the reason it gave. Its stderr goes to `log`. */
int daemon_detach(struct daemon *d, const char *log);

#endif
