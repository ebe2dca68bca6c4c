/* secret: a line that nobody is to see: asked for on the terminal, without echo, or read from standard input when that is none.
 *
 * While it is typed the terminal's settings are others. A signal that ends or stops the program meanwhile is held back until they are
 * as before. */
#ifndef CLI_SECRET_H
#define CLI_SECRET_H

#include <stddef.h>

/* The first line, without its end, into out; an exit code. The prompt goes to standard error. Who calls wipes out. */
int secret_read(const char *prompt, char *out, size_t size);

#endif
