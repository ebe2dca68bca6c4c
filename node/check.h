/* check: reads everything that is stored and compares it with what it should be; what is damaged is named, and with `repair` fetched
 * again, from another place on this disk or from a peer.
 *
 *   index      SQLite's own integrity check
 *   folder     every settled file whose times and size say that it is as it was hashed: if its bytes are not, that is damage (an edit is not:
 *              the scan has that). Repair: the path counts as no version, so that nothing is served or copied from there, and its version
 *              is wanted again; the damaged file goes to kept/ when it is replaced
 *   kept       every kept file. Repair: it is kept aside as a file of unknown content, and its version is wanted again
 *   packs      every record, and that each packed content has all its blocks. Repair: damaged records are forgotten, and the versions that
 *              need them are wanted again, and packed anew later
 *
 * A version that neither this disk nor a device that is online has is left as it is, and named. Everything is read by workers, a few MiB to a
 * file at a time; the node goes on meanwhile, but nothing is packed. */
#ifndef NODE_CHECK_H
#define NODE_CHECK_H

#include "node/keeper.h"

enum check_state { CHECK_DAMAGED, CHECK_WANTED, CHECK_REPAIRED, CHECK_LOST };
struct check_finding {
    enum check_state state;
    const char *what;                       /* index, file, kept, pack, version */
    char *name; size_t len; char *why;
    int64_t want;                           /* the entry whose content comes again */
};
struct check_figures { uint64_t files, kept, packs, versions, bytes; };

struct check;
struct check_config {
    struct loop *loop; struct pool *pool; struct folder *folder; struct engine *engine; struct index *index; struct keeper *keeper;
    char *index_path;                       /* becomes the check's own */
    bool repair;
    void (*committed)(void *arg);           /* there are new wants */
    void *arg;
};
void check_new(const struct check_config *c, struct check **out);        /* begins at once */
bool check_done(struct check *k);                                        /* everything was read, and what was wanted has come or is late */
const char *check_failure(const struct check *k);                        /* it could not go on; NULL: it could */
const struct check_figures *check_figures(const struct check *k);
size_t check_findings(const struct check *k, const struct check_finding **out);
void check_stop(struct check *k);                                        /* nobody wants to know any more; frees itself when it can */

#endif
