/* check_priv: the insides of check.
 *   check.c          the order of things: phases, waiting for what was wanted, figures
 *   check_look.c     the jobs that read, and what they found
 *   check_repair.c   what is done about it */
#ifndef NODE_CHECK_PRIV_H
#define NODE_CHECK_PRIV_H

#include "node/check.h"
#include "node/pathset.h"
#include "store/packs.h"

enum phase { PHASE_HOLD, PHASE_INDEX, PHASE_FOLDER, PHASE_KEPT, PHASE_PACKS, PHASE_VERSIONS, PHASE_WAIT, PHASE_DONE };

struct check {
    struct check_config c;
    struct loop_timer timer;
    enum phase phase;
    bool running, stopped;
    _Atomic bool stop;
    struct check_figures figures;
    struct check_finding *v; size_t n;
    char failure[200];
    int64_t cursor;                        /* path or kept row that was looked at last */
    struct ix_pack *packs; size_t npacks, at_pack;
    struct pathset bad;                    /* ids of blocks, and kind and id of contents, whose records are damaged */
    size_t left; uint64_t since;           /* what is still wanted, and since when it has been so many */
};

/* check.c */
void check_job_done(struct check *k);
void check_fail(struct check *k, const char *why);
struct check_finding *check_add(struct check *k, const char *what, const char *name, size_t len, const char *why);
/* check_look.c. true: a job was begun; false: there is nothing more to be looked at. */
bool check_look_index(struct check *k);
bool check_look_folder(struct check *k);
bool check_look_kept(struct check *k);
bool check_look_pack(struct check *k, uint64_t pack);
bool check_look_versions(struct check *k);                                 /* no job: true as long as there are more */
/* check_repair.c: each sets the finding's state. */
void repair_file(struct check *k, struct check_finding *f, int64_t path, const struct stamp *st);
void repair_kept(struct check *k, struct check_finding *f, int64_t id, int64_t entry, const struct id *root, bool there);
void repair_version(struct check *k, struct check_finding *f, int64_t entry, const struct id *root);
void repair_pack(struct check *k, struct check_finding *f, const struct ix_piece *bad, size_t n);

#endif
