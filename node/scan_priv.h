/* scan_priv: the insides of scan.
 *   scan.c        life cycle, hints and timers, ignore rules
 *   scan_see.c    what a look means: differences, absences, renames
 *   scan_look.c   the job that looks
 *   scan_take.c   hashing, facts, transactions */
#ifndef NODE_SCAN_PRIV_H
#define NODE_SCAN_PRIV_H

#include "node/pathset.h"
#include "node/scan.h"
#include "store/ignore.h"

struct hint { char *path; size_t len; bool deep; uint64_t due; };
struct hints { struct hint *v; size_t n, cap; };
void hints_add(struct hints *h, const char *path, size_t len, bool deep, uint64_t due);
void hints_release(struct hints *h);

/* One thing that a look found. */
struct sight { size_t path, len, target, targetlen; struct stamp st; int wd; bool trouble; };
struct sights { struct job job; struct scan *scan; struct sight *v; size_t n; char *bytes; size_t used, room; };
struct look {
    struct job job;
    struct scan *scan;
    struct hints hints;
    bool full;
    struct sights *part;
    int code; char text[256];       /* why the look failed as a whole */
    bool watch_full; char watch_text[160];
};
/* folder_stat, but what is beneath a link is ABSENT: the directory that was there is gone with all that was in it. For workers too. */
int  look_stat(const struct folder *f, const char *path, size_t len, struct stamp *out) MUST_CHECK;
void look_start(struct scan *s, struct hints *hints, bool full);
void scan_on_sights(struct scan *s, const struct sights *p);       /* in the loop, in order */
void scan_settle(struct scan *s, const struct hints *looked);      /* absences and renames, at the end of a look */
void scan_on_look_done(struct scan *s, struct look *l);

/* A path that waits to become a fact. */
enum fact_kind { FACT_SEEN, FACT_GONE, FACT_FORGET };   /* FORGET: gone, but ignored */
struct fact { enum fact_kind kind; char *path; size_t len; struct stamp st; struct content_list *content; bool settled; };
struct candidate { char *path; size_t len; struct stamp st; };
struct hash_job;                 /* some files that are to be hashed by one worker */
struct missing { char *path; size_t len; struct ix_local local; bool matched; };

struct scan {
    struct scan_config c;
    struct watch *watch;
    struct ignore *ignore;
    struct id rules;                 /* hash of their texts; none = not read yet */
    struct hints soon, later;
    bool full_wanted, looking, full_look, first_done, stopped, root_bad, rules_changed;
    struct loop_timer timer, flush_timer;
    uint64_t next_full, full_period;
    /* of the look under way */
    uint8_t *seen; size_t seen_bits;
    struct missing *missing; size_t nmissing, missing_cap;
    struct candidate *fresh; size_t nfresh, fresh_cap;              /* perhaps renamed, else to be hashed */
    uint8_t *inodes; unsigned inode_bits;                           /* of files on record: see may_be_renamed */
    struct hints unreadable;
    struct scan_figures counting, last;
    /* hashing */
    struct hash_job *queue, *queue_last;                             /* not started */
    size_t hashing;
    struct pathset in_hash;                                          /* queued or hashed now; value: 1 = look again afterwards */
    struct pathset backoff;                                          /* value: milliseconds */
    struct fact *fact; size_t nfact, fact_cap;
    struct pathset told;                                             /* troubles already said; value: the look that met it last */
    uint32_t looks;
    bool braked, accept; uint64_t brake_files;
};

void take_file(struct scan *s, const char *path, size_t len, uint64_t size, int class);
void take_fact(struct scan *s, struct fact f);                        /* owns f.path and f.content */
void take_pump(struct scan *s);                                       /* starts hash jobs, flushes facts */
void take_relieve(struct scan *s);                                    /* flushes facts when there are many */
bool take_flush(struct scan *s);                                      /* facts so far become entries; false: tried again later */
void take_release(struct scan *s);
void scan_later(struct scan *s, const char *path, size_t len, uint64_t in_ms);
void scan_wake(struct scan *s, uint64_t in_ms);
void scan_forget_look(struct scan *s);                                /* frees what one look has gathered */

#endif
