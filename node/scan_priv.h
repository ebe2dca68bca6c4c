/* scan_priv: the insides of scan.
 *   scan.c        life cycle, hints and timers
 *   scan_rules.c  what is left alone
 *   scan_see.c    what a look means: differences, absences, renames
 *   scan_look.c   the job that looks
 *   scan_take.c   hashing, facts, transactions
 *   scan_db.c     databases: when their snapshots are made, and what becomes of them */
#ifndef NODE_SCAN_PRIV_H
#define NODE_SCAN_PRIV_H

#include <stdatomic.h>

#include "node/pathset.h"
#include "node/scan.h"
#include "store/database.h"
#include "store/ignore.h"

struct hint { char *path; size_t len; bool deep; uint64_t due; };
struct hints { struct hint *v; size_t n, cap; };
void hints_add(struct hints *h, const char *path, size_t len, bool deep, uint64_t due);
void hints_release(struct hints *h);

/* One thing that a look found. SIGHT_PART: a file beside a database, that belongs to it. SIGHT_WHOLE: that database, with its log. */
enum sight_kind { SIGHT_PLAIN, SIGHT_TROUBLE, SIGHT_PART, SIGHT_WHOLE };
struct sight { size_t path, len, target, targetlen; struct stamp st; int wd; enum sight_kind kind; };
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
/* folder_stat_near, but what is beneath a link is ABSENT: the directory that was there is gone with all that was in it. For workers too. */
int  look_stat(const struct folder *f, struct folder_near *near, const char *path, size_t len, struct stamp *out) MUST_CHECK;
void look_start(struct scan *s, struct hints *hints, bool full);
void scan_on_sights(struct scan *s, const struct sights *p);       /* in the loop, in order */
void scan_trouble(struct scan *s, const char *path, size_t len, const char *text);     /* it cannot be synced: said once, and no deletion */
void scan_settle(struct scan *s, const struct hints *looked);      /* absences and renames, at the end of a look */
void scan_on_look_done(struct scan *s, struct look *l);

/* A path that waits to become a fact. */
enum fact_kind { FACT_SEEN, FACT_GONE, FACT_FORGET, FACT_PART };   /* FORGET: gone, but ignored. PART: there, but not synced any more */
struct fact {
    enum fact_kind kind; char *path; size_t len; struct stamp st; struct content_list *content; bool settled;
    bool lost;                       /* GONE: a file, and it was not moved elsewhere */
    bool database, apart; int64_t base; char *kept;      /* apart: a snapshot, begun when the version `base` was on record; kept may be NULL */
    bool same;                                           /* at rest, and it says what `base` said, which was a snapshot */
};
struct candidate { char *path; size_t len; struct stamp st; };
struct hash_job;                 /* some files that are to be hashed by one worker */
/* A file that waits: there may be millions. The path is that of in_hash. */
struct waiting { const char *path; uint32_t len; int class; };
/* And what became of it. With database, ERR_AGAIN: it is in use, and is to be taken as a snapshot. */
struct hashed { struct waiting w; struct content_list content; struct stamp st; bool settled, database, flushed; int code; char text[160]; };
struct missing { char *path; size_t len; struct ix_local local; bool matched; };

#define RULES_FILE ".lanyardignore"
enum rules_source { RULES_SYNCED, RULES_OWN, RULES_GROUP, RULES_SOURCES };   /* later ones decide */

struct scan {
    struct scan_config c;
    struct watch *watch;
    struct ignore *ignore;
    struct buf rules_text[RULES_SOURCES];    /* of each the last that could be read */
    struct id rules;                 /* hash of them; none = not read yet */
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
    _Atomic int64_t flushed;                                         /* what was written before that time is on the disk: see on_disk */
    struct pathset in_hash;                                          /* queued or hashed now; value: 1 = look again afterwards */
    struct pathset backoff;                                          /* value: milliseconds */
    struct fact *fact; size_t nfact, fact_cap;
    struct pathset databases;                                        /* met in use: see_there; value: when (s) one is taken that never rests, or 0 */
    struct pathset told;                                             /* troubles already said; value: the look that met it last */
    uint32_t looks;
    bool braked, accept; uint64_t brake_files;
};

void take_file(struct scan *s, const char *path, size_t len, uint64_t size, int class);       /* also one that looks as it did */
void take_changed(struct scan *s, const char *path, size_t len, uint64_t size, int class);    /* the same, unless the policy is against it */
void take_fact(struct scan *s, struct fact f);                        /* owns f.path and f.content */
void take_pump(struct scan *s);                                       /* starts hash jobs, flushes facts */
void take_relieve(struct scan *s);                                    /* flushes facts when there are many */
bool take_flush(struct scan *s);                                      /* facts so far become entries; false: tried again later */
void take_release(struct scan *s);
void take_again(struct scan *s, const struct waiting *w);             /* looked at again after a pause that grows */
void take_trouble(struct scan *s, const struct waiting *w, const char *text);
int64_t take_now(void);                                               /* ns, the clock of files */
/* In how many milliseconds a look at a file with these times will prove something, if it is not written meanwhile: 0 = one that begins now
 * does. At least a second when they are in the future (the clock was set back), and at most an hour: all is looked at then anyway. */
uint64_t take_young(const struct stamp *st, int64_t now_ns, int64_t grain_ns);
int  take_flush_all(struct scan *s) MUST_CHECK;                       /* in a worker; raises s->flushed */
bool take_settled(const struct scan *s, const struct stamp *st, int64_t began);
/* scan_rules.c */
void rules_begin(struct scan *s);
void rules_load(struct scan *s);                                      /* anew; whoever has to know of others is told */
void rules_release(struct scan *s);
/* scan_db.c */
int  db_hash(const struct scan *s, struct hashed *h) MUST_CHECK;      /* in a worker */
bool db_done(struct scan *s, struct hashed *h);                       /* true: it is seen to, in another way than a file */
int  db_give(struct scan *s, const struct fact *f, uint64_t wall) MUST_CHECK;
void db_drop(struct scan *s, const struct fact *f);                   /* a snapshot that was taken in vain */
bool db_still_true(struct scan *s, const struct fact *f);
void scan_later(struct scan *s, const char *path, size_t len, uint64_t in_ms);
void scan_wake(struct scan *s, uint64_t in_ms);
void scan_forget_look(struct scan *s);                                /* frees what one look has gathered */

#endif
