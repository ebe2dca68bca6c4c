/* continuity: whether the index, the home and the folder still belong to the same moment. Each holds a copy of a token of 16 random
 * bytes, renewed whenever a node starts and ends: in the index under "token", in HOME/token and in FOLDER/.lanyard/token. If one of
 * them has been lost, or is an older copy (a backup, a snapshot, another disk), they do not agree: then neither is what the index
 * knows of the disk to be believed, nor may the stream of this device be continued, since its next numbers may have been used.
 * When all of them are of the same past moment only the peers can tell: engine_vector.
 *
 * Order: folder, home, index (a commit, with all that follows from a doubt). A stop in between is a needless doubt at the next start
 * and nothing worse; a stop at any other time changes nothing. */
#ifndef NODE_CONTINUITY_H
#define NODE_CONTINUITY_H

#include "node/engine.h"
#include "node/home.h"
#include "store/folder.h"

/* Once the folder is open and before anything of it is looked at: asks the tokens, tells the engine (engine_doubt) and renews them.
 * *doubt: why they do not agree, a constant text; NULL when they do. A disk where no token can be written keeps the old ones.
 * ERR_IO, ERR_FULL when the index cannot be written. */
int continuity_check(const struct home *h, const struct folder *f, struct index *ix, struct engine *e, const char **doubt) MUST_CHECK;
/* At the end of a run, so that a copy made during it is an older one. */
int continuity_renew(const struct home *h, const struct folder *f, struct index *ix, struct engine *e) MUST_CHECK;

#endif
