/* pull_priv: the insides of pull.
 *   pull.c         items: from want to READY
 *   pull_local.c   content that is already on this disk: copies, blocks of the replaced version, resumed downloads
 *   pull_fetch.c   content from peers: block lists, credit, requests, verified writing
 *   pull_place.c   batches: from READY to the folder and the index */
#ifndef NODE_PULL_PRIV_H
#define NODE_PULL_PRIV_H

#include "node/pathset.h"
#include "node/pull.h"

enum item_state {
    ITEM_LIST,        /* needs its block list from a peer */
    ITEM_LOCAL,       /* a job looks for content on this disk */
    ITEM_BLOCKS,      /* some blocks are missing and not asked for, or on their way */
    ITEM_READY,       /* waits for a batch */
    ITEM_PLACING,     /* in the batch under way */
    ITEM_DELAYED,     /* failed; from `due` on it is begun anew */
};
enum item_way { WAY_PLAIN, WAY_MOVE, WAY_COPY, WAY_FETCH };
enum { ITEM_DENIED_MAX = 8, TMP_NAME = 64, ITEMS_MAX = 4096 };

struct item {
    struct ix_want want;
    struct entry ent; struct buf raw;
    char *path; size_t len;
    enum item_state state;
    enum item_way way;
    bool tried_move, tried_copy, cancelled, placed;
    bool troubled;                       /* the disk was full or failed when it was tried last */
    unsigned refs;                       /* requests and jobs that point here */
    unsigned failures;
    uint64_t due;
    /* WAY_MOVE: the tombstone's want, and the path */
    int64_t from_entry; char *from; size_t fromlen; struct stamp from_stamp; bool from_settled;
    char tmp[TMP_NAME];
    int fd;                              /* of tmp while blocks come in (several blocks), else -1 */
    struct buf list;                     /* block references (several blocks) */
    uint8_t *have, *asked;               /* bitmaps (several blocks) */
    uint32_t missing, next;              /* blocks not written yet; where to look for the next to ask for */
    struct id denied[ITEM_DENIED_MAX]; unsigned ndenied;   /* peers that said they do not have it */
    uint64_t *offset;                    /* of each block (several blocks) */
    struct item *next_item, *prev_item;
};
struct items { struct item *head, *tail; size_t n; };
void items_add(struct items *l, struct item *it);
void items_del(struct items *l, struct item *it);

struct source { struct id dev; uint64_t outstanding, window, good; unsigned requests, strikes; bool bad; uint64_t busy_until; };

struct pull {
    struct pull_config c;
    struct items all;                    /* every item */
    struct pathset entries;              /* keys: entry ids of items (8 bytes) */
    struct pathset roots;                /* keys: roots that are being fetched */
    int64_t cursor; bool more;           /* where to go on in the wants */
    struct source *source; size_t nsource;
    bool placing, failed, freeing;
    struct pathset busy;
    struct loop_timer timer;
    struct pull_figures figures;
    size_t ready, fetching;
};

/* pull.c */
void item_state(struct pull *p, struct item *it, enum item_state s);
void item_done(struct pull *p, struct item *it);                         /* its want is fulfilled or gone: freed when nothing refers to it */
void item_fail(struct pull *p, struct item *it, uint64_t in_ms);         /* begun anew later */
void item_unref(struct pull *p, struct item *it);
void pull_wake(struct pull *p, uint64_t in_ms);
void pull_set_failed(struct pull *p, const char *text);
bool item_known(const struct pull *p, int64_t entry);
void item_claim(struct pull *p, int64_t entry);
void item_unclaim(struct pull *p, int64_t entry);
/* pull_local.c */
bool local_move(struct pull *p, struct item *it);                        /* found a file to rename: READY */
bool local_copy(struct pull *p, struct item *it);                        /* found content to copy: a job has begun */
void local_prepare(struct pull *p, struct item *it);                     /* opens tmp, finds blocks that are here; then BLOCKS or READY */
/* pull_fetch.c */
void fetch_pump(struct pull *p);
void fetch_release(struct pull *p);
/* pull_place.c */
void place_pump(struct pull *p);
int  place_clean_up(struct pull *p) MUST_CHECK;

#endif
