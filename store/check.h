/* check: whether what is stored is what it should be. Runs in workers. */
#ifndef STORE_CHECK_H
#define STORE_CHECK_H

#include "proto/buf.h"
#include "store/content.h"

/* Asks SQLite for a whole integrity check, over a connection of its own that only reads. 0; ERR_CORRUPT with the first fault;
 * ERR_IO, ERR_AGAIN when it could not be looked at. */
int check_index(const char *path) MUST_CHECK;
/* Whether fd holds exactly the content: its length, and every block by its id. refs as in content_list. 0, ERR_CORRUPT, ERR_IO (which a
 * disk that fails says), ERR_CLOSED when `stop` was set. *bytes is added what was read. */
int check_content(int fd, const struct content_list *c, const _Atomic bool *stop, uint64_t *bytes) MUST_CHECK;

#endif
