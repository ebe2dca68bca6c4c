/* probe: whether a TCP port answers. ZeroMQ connects in silence for as long as it takes and does not say that it was refused. */
#ifndef NODE_PROBE_H
#define NODE_PROBE_H

#include "node/address.h"

/* Tries to connect to "HOST:PORT", all its addresses in turn, within the time, and closes at once. The one that answered goes to
 * `numeric`. ERR_CLOSED: refused there; ERR_TIMEOUT: no answer, or no way to it; ERR_NOTFOUND: no such host; ERR_USAGE. Blocks. */
int probe(const char *address, int timeout_ms, char numeric[static ADDRESS_TEXT]) MUST_CHECK;

#endif
