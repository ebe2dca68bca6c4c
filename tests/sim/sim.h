/* sim: many engines in one process, under one virtual clock and one seeded scheduler that loses, repeats, delays and reorders messages,
 * cuts links, crashes devices in the middle of anything, fails their disks, turns their clocks and lets their users work all the
 * while. Then everything is healed, and when nothing moves any more, all devices must show the same files, which must be those of
 * a model that knows the true ancestry of every version (model.c), and nothing that counts may be lost.
 *
 *   main.c     seeds, options, processes
 *   world.c    a schedule: which events, how often; healing; the start and the end of devices
 *   user.c     what users do to their disks
 *   disk.c     a disk of a few paths, and the files kept beside it
 *   device.c   the node around an engine: transactions, announcements, looks, messages
 *   accident.c indexes that are lost, or older than they should be
 *   twin.c     a device that runs on two machines at once
 *   again.c    what is signed again because its stream has two histories
 *   admin.c    devices that may write no more, and again
 *   require.c  required versions, and the locks that they bring
 *   forget.c   forgetting, and the audit
 *   liar.c     a member that says of what lives that it is long dead
 *   place.c    what is wanted and put on the disk, as node/pull does it
 *   net.c      messages under way
 *   model.c    every version ever made, what it truly supersedes, and the last judgement
 *   which.c    which of the versions under one number a device has
 *   crypto.c   signatures that cost little
 *   mutant.c   deliberate defects, which the simulator must find (--mutants)
 *
 * What is real: the engine, the index (SQLite, in memory; a crash rolls back what was not committed), the records and the bodies of
 * messages. What is modelled: disk, network, time, randomness, signatures. A schedule is a function of its seed alone. */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "node/engine_priv.h"
#include "store/index_priv.h"

enum { DEVICES_MAX = 5, PATHS = 10, VERSIONS_MAX = 1024, CONTENTS_MAX = 2048, WANTS_MAX = 64, SPLITS_MAX = 64, RECORDS_MAX = 64, ADMINS = 2 };
#define START_MS 1700000000000ull

/* ---- randomness ---- */
uint64_t sim_rand(uint64_t *seed);
struct world;
uint64_t pick(struct world *w, uint64_t n);               /* 0..n-1 */
bool chance(struct world *w, unsigned percent);

/* ---- disk: paths are numbered; a content is a number, too, and 0 is none ---- */
extern const char *const path_name[PATHS + 1];            /* the last one stands for all notes: none of them is on a disk */
enum { NOTES = PATHS };
extern const int path_parent_of[PATHS];                   /* -1 = the root */
struct thing { enum stamp_kind kind; uint32_t content, mode; int64_t mtime; uint64_t ino; int64_t ctime; };
struct disk {
    struct thing at[PATHS];
    uint32_t *kept; size_t nkept, kept_cap;               /* contents in kept/ */
    bool ever[CONTENTS_MAX];                              /* contents that have been on it */
};
struct stamp stamp_of(const struct thing *t);
bool disk_has_children(const struct disk *d, int path);
bool disk_has_content(const struct disk *d, uint32_t content);
/* All parents are directories, or can be made so; makes them. */
bool disk_parents(struct world *w, struct disk *d, int path);
void disk_put(struct world *w, struct disk *d, int path, const struct thing *t);    /* new times and inode */
void disk_keep(struct disk *d, uint32_t content);
/* The content record of a number, to be released. Every third is inline, and where a link leads to. */
struct content_list content_of(uint32_t content, bool link);
uint32_t content_by_root(const struct world *w, const struct id *root);             /* 0 = never made */

/* ---- network ---- */
enum message_type { M_VEC, M_GET_CS, M_CS, M_GET_BLK, M_BLK, M_FORK, M_GET_LIVE, M_LIVE };
/* body: of GET_CS the ranges as they are in memory. */
struct message { enum message_type type; int from, to; struct buf body; uint32_t content; bool found; uint64_t cursor; };
struct net { struct message *v; size_t n, cap; bool cut[DEVICES_MAX][DEVICES_MAX]; };
void net_send(struct world *w, struct message *m);        /* takes m->body */
void net_deliver(struct world *w, size_t i);              /* the i-th message under way arrives */
void net_lose(struct world *w, size_t i);
void net_forget(struct world *w, int device);             /* its connections are gone, with what was on them */
void net_cut(struct world *w, int a, int b, bool cut);

/* ---- devices ---- */
struct device {
    struct device_keys *keys;
    struct disk disk;
    struct index *index;                                  /* outlives crashes */
    struct group group;                                   /* and so does what it knows of it */
    bool cuts_due;                                        /* it has not brought itself in line with that yet */
    struct engine *engine;                                /* NULL while it is down */
    int64_t clock;                                        /* how wrong, in milliseconds */
    bool asked[DEVICES_MAX];                              /* change sets, of whom */
    bool here[CONTENTS_MAX];                              /* contents in tmp/ */
    unsigned failures[PATHS];
    size_t mark, withdrawn_mark;                          /* versions of the model, and withdrawn ones, when the transaction began */
    bool lost_index;
    bool turned_back;                                     /* its clock: what it wrote may be dated in the future */
    bool muted;                                           /* it has met its twin */
    bool warned; struct sid of;                           /* a peer knows more of its stream than it does: it must not go on with it */
    struct backup { sqlite3 *db; struct ix_totals want; struct thing at[PATHS]; size_t nkept; bool has, all; } backup;   /* of its index */
    /* held: it keeps to itself what it writes, from version `mark` of the model on; unserved: since when nobody could help it, 0: somebody can */
    struct locked { bool held; size_t mark; uint64_t unserved; } lock;
    bool doubt;                                           /* its tokens will not agree */
};
void device_start(struct world *w, int i);
void device_crash(struct world *w, int i);
void device_reset(struct world *w, int i);                /* as before its first start */
uint64_t device_wall(const struct world *w, int i);
void device_look(struct world *w, int i, bool all);       /* at one path, or at all */
void device_ask(struct world *w, int i);                  /* the next requests for change sets and contents */
void device_place(struct world *w, int i);                /* a batch of what is ready */
void device_publish(struct world *w, int i);
void device_tell_forks(struct world *w, int i);
bool device_clock(struct world *w, int i);               /* it looks at its clock */
void device_time_out(struct world *w, int i);
void device_resolve(struct world *w, int i);
void device_note(struct world *w, int i);
void device_receive(struct world *w, struct message *m);
/* Shared by device.c and place.c. */
int  device_of(const struct world *w, int from, const struct id *dev);     /* of twins, the one that `from` talks to */
void device_begin(struct world *w, int i);
bool device_commit(struct world *w, int i, bool news);    /* false: it came to nothing, or the device is no more */
bool device_local(struct world *w, int i, int path, struct ix_local *l);
int  device_look_at(struct world *w, int i, int path);

/* ---- forgetting ---- */
void device_forget(struct world *w, int i);
void device_audit(struct world *w, int i);                /* goes through the live state of whoever knows the same and shows another one */
void serve_live(struct world *w, const struct message *q);
void receive_live(struct world *w, const struct message *m);

/* ---- an admin ---- */
void admin_issue(struct world *w, int by, const struct ctl_op *op);     /* a record, which device `by` has at once */
void admin_acts(struct world *w);
void admin_heals(struct world *w);                        /* all are members again, and know it */
void admin_ends(struct world *w);
void device_hears(struct world *w, int i, uint64_t ctl_n);/* of the records up to that one; or not yet */
void device_cuts(struct world *w, int i);                 /* does what follows from them */
bool ignores(const struct world *w, int i, int from);     /* one of the two is no member, as far as i knows */
void check_cuts(struct world *w, int i);                  /* fails the schedule */
bool is_cut(const struct world *w, int i, const struct dot *d);

/* ---- required versions ---- */
void require_acts(struct world *w, int i);
void device_lock(struct world *w, int i);                 /* looks where it is with what is required of it */
void device_accept(struct world *w, int i);               /* its user does, if it waits for that */
void check_held(struct world *w);                         /* these two fail the schedule */
void judge_required(struct world *w);

/* ---- a liar ---- */
bool lies_here(struct world *w, int i);                   /* in what device i is about to answer */
void lie(struct world *w, struct buf *body);              /* change sets that the liar answers with: some of what lives is hidden in runs */

/* ---- accidents ---- */
void index_copy(struct world *w, sqlite3 *to, sqlite3 *from);
void index_empty(struct world *w, int i);                 /* as new: quicker than to open another one */
void accidents(struct world *w, int i);

/* ---- twins: one pair at a time; nobody talks to both of them ---- */
void twins(struct world *w, int i);                       /* one is made, they meet, or one of them is removed and joins as a device of its own */
bool are_twins(const struct world *w, int a, int b);
void twins_join(struct world *w, int a, int b);           /* before a and b are connected: the one gives way to the other */
void twins_end(struct world *w);
bool twins_talk(const struct world *w, int a, int b);     /* a talks to the twin of b */

/* ---- what is signed again ---- */
extern int busy_device;                                   /* whose transaction is open */
extern struct world *busy_world;
void again_watch(struct world *w);                        /* once a process */
void again_forget(struct world *w, int i);                /* the device has lost what it knew */
void judge_again(struct world *w);

/* ---- users ---- */
void user_acts(struct world *w, int i);

/* ---- the model ---- */
struct name { struct dot dot; struct id raw; };           /* of a version, also where one number was used twice */
struct version_of {
    struct dot dot; struct id raw, leaf;
    uint64_t batch;                                       /* the transaction, and so the change set, that it came with */
    int author;
    bool forgotten;                                       /* its author has been put back to before it */
    bool ambiguous;                                       /* there is another one of that number */
    size_t again;                                         /* in the place of which version, plus one */
    int path; enum kind kind; uint32_t content, mode; uint64_t hlc;
    uint64_t supersedes[VERSIONS_MAX / 64];
};
struct model { struct version_of v[VERSIONS_MAX]; size_t n; };
enum based_on { ON_DISK, ON_ALL_HEADS, ON_NOTHING, IN_PLACE_OF, OVER_ITSELF, DEAD_ALREADY };
/* The newest entry of that path at that device has just been authored. base: its name, with ON_DISK, IN_PLACE_OF, OVER_ITSELF and (its dot alone)
 * DEAD_ALREADY, or NULL. */
void model_add(struct world *w, int device, int path, enum based_on how, const struct name *base);
size_t model_find(const struct world *w, const struct name *name);                  /* m->n: there is none */
/* Of several versions under one number: the one that this device has; or has forgotten. */
bool model_has(const struct world *w, int device, const struct version_of *v, bool forgotten);
void model_forget(struct world *w, int device);           /* its index is an older one now */
bool model_beats(const struct group *g, const struct version_of *a, const struct version_of *b);
bool model_ambiguous(const struct world *w, int device, int path);                  /* it knows versions there whose numbers were used twice */
bool everybody_knows(struct world *w, const struct version_of *v);
bool model_winner_is(struct world *w, int device, int path, const struct name *name);
bool model_knows(const struct world *w, int device, const struct version_of *v);
bool content_is_somewhere(const struct world *w, uint32_t content);                 /* on a disk */
void judge(struct world *w);                              /* fails the schedule */

/* ---- a schedule ---- */
struct faults { unsigned drop, duplicate, reorder, partition, crash, disk, clock, index_lost, index_restored, all_restored, twins, forget, lies, revoke, require; };   /* per cent; 0 = this schedule has none */
struct world {
    uint64_t seed, rand, now, tick, batch;
    struct group group;                                   /* as every schedule begins */
    struct buf record[RECORDS_MAX]; size_t nrecord;       /* of the control log, since then */
    struct device d[DEVICES_MAX];
    int n;
    struct net net;
    struct model model;
    struct dot split[SPLITS_MAX]; size_t nsplit;          /* streams in which numbers were used twice: the last */
    struct withdrawn { size_t version; int device; } withdrawn[VERSIONS_MAX]; size_t nwithdrawn;   /* live versions of ended streams, whose content was there */
    struct { int slot, of; struct device_keys *keys; } twin;                            /* slot 0: none; keys: of its own */
    uint32_t contents;                                    /* the greatest number in use */
    struct id root[CONTENTS_MAX];
    struct faults faults;
    int liar;                                             /* with faults.lies */
    bool quiet;                                           /* no faults any more */
    bool progress;                                        /* something has changed in this round */
    bool trace;
};
void world_init(struct world *w);                         /* once a process: keys and group */
void world_release(struct world *w);
void world_run(struct world *w, uint64_t seed);
/* In the middle of what device i does: true when it has crashed there (and is down). */
bool crashes_here(struct world *w, int i, const char *where);
bool disk_fails_here(struct world *w, int i, const char *where);
void tell(const struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The schedule has failed; does not return. */
void fail(const struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
#define MUST(call) do { if ((call) < 0) fail(w, "%s: %s", #call, err_text()); } while (0)

/* ---- mutants ---- */
enum mutant { MUTANT_NONE, MUTANT_NO_EXCEPT, MUTANT_EARLY, MUTANT_FIRST_SCAN, MUTANT_NO_DOUBT, MUTANT_NO_AGAIN, MUTANT_DEAF, MUTANT_FORGET_EARLY, MUTANT_NO_AUDIT,
              MUTANT_NO_CUTS, MUTANT_KNOWN, MUTANT_SERVES_HELD, MUTANT_OLD_WINNERS, MUTANT_COUNT };
extern enum mutant mutant;
extern const char *const mutant_name[MUTANT_COUNT];
/* MUTANT_EARLY: the index goes back to before the transaction that has just been announced. */
void mutant_remember(struct world *w, int i);
void mutant_forget(struct world *w, int i);

#endif
