/* setup: what lanyardd does besides running a node: making a home (init, join) and its settings without a node (config).
 *
 *   init   [--name DEVICE] [--no-recovery] [--json] [--] FOLDER
 *   join   [--name DEVICE] [--at HOST:PORT] [--json] [--] CODE FOLDER
 *   config list|get|set [--json] [--] [KEY [VALUE]]
 * Results go to stdout, in one line (init: and the recovery phrase) or with --json as one object or array; errors to stderr as "lanyard: TEXT", since `lanyard`
 * executes lanyardd in its place. The commands return exit codes of proto/ctl.h. */
#ifndef NODE_SETUP_H
#define NODE_SETUP_H

/* home: resolved (ctl_home). argv[0] is the command's name; argv ends with NULL. */
int setup_init(const char *home, int argc, char **argv);
int setup_join(const char *home, int argc, char **argv);
int setup_config(const char *home, int argc, char **argv);

/* Prints why, err_text(), in that form. Returns the exit code for the error. */
int setup_failed(int err);

#endif
