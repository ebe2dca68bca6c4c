/* pull_priv: the insides of pull.
 *   pull.c         items: from want to READY
 *   pull_local.c   content that is already on this disk: copies, blocks of the replaced version, resumed downloads
 *   pull_source.c  the peers that content comes from: whom to ask, what silence and lies lead to
 *   pull_list.c    block lists from peers, and the memory for them
 *   pull_ask.c     blocks from peers: which are asked of whom, credit
 *   pull_fetch.c   blocks from peers: answers, verified writing
 *   pull_share.c   receivers of the same content: who asks for which block of whom; unfinished downloads for peers
 *   pull_place.c   batches: from READY to the folder and the index
 *   pull_crash.c   at the start: what a node that was killed has left
 *   pull_kept.c    kept files of unknown content: read, so that versions find them
 *   pull_found.c   kept files that no version names: versions are made of them */
#ifndef NODE_PULL_PRIV_H
#define NODE_PULL_PRIV_H

#include "node/pathset.h"
#include "node/pull.h"
#include "node/serve.h"

/* Bitmaps of blocks. */
static inline bool bit(const uint8_t *bits, size_t i) { return bits[i / 8] >> (i % 8) & 1; }
static inline void bit_set(uint8_t *bits, size_t i) { bits[i / 8] |= (uint8_t)(1u << (i % 8)); }
static inline void bit_clear(uint8_t *bits, size_t i) { bits[i / 8] &= (uint8_t)~(1u << (i % 8)); }

enum item_state {
    ITEM_LIST,        /* needs its block list from a peer */
    ITEM_LOCAL,       /* a job looks for content on this disk */
    ITEM_BLOCKS,      /* some blocks are missing and not asked for, or on their way */
    ITEM_READY,       /* waits for a batch */
    ITEM_PLACING,     /* in the batch under way */
    ITEM_DELAYED,     /* failed; from `due` on it is begun anew */
};
enum item_way { WAY_PLAIN, WAY_MOVE, WAY_COPY, WAY_FETCH };
enum { ITEM_DENIED_MAX = 8, TMP_NAME = 64, ITEMS_MAX = 4096, SOURCES_MAX = 64 };

/* Who asks whom for the blocks of a content that others lack as well (pull_share.c). A source is its place in pull.source. */
enum { SHARE_MAX = 256, SHARE_SELF = -1, SHARE_ANY = -2 };
struct share {
    uint64_t since, looked;              /* when first and last; ms */
    uint8_t lacks[SHARE_MAX / 8];        /* sources that may be asked for what they own */
    uint8_t has[SHARE_MAX / 8];          /* sources that have it: they are asked for what this device owns */
    uint8_t owners[SHARE_MAX / 8];       /* sources that own something, now or in a moment */
    uint32_t unit; int16_t *owner;       /* blocks that have one owner together; a source or SHARE_SELF of each such run; NULL: not shared */
};

struct item {
    struct ix_want want;
    struct entry ent; struct buf raw;
    char *path; size_t len;
    enum item_state state;
    enum item_way way;
    bool tried_move, tried_copy, cancelled, placed;
    bool plain;                          /* its content is known to be no database */
    bool troubled;                       /* the disk was full or failed when it was tried last */
    bool unsafe;                         /* a flush failed that may have been to write some of it: it is got anew, not placed */
    unsigned refs;                       /* requests and jobs that point here */
    unsigned late;                       /* those of them that belong to late requests */
    unsigned failures;
    unsigned futile;                     /* answers one after the other without a block of it */
    uint64_t due;
    /* WAY_MOVE: the tombstone's want, and the path */
    int64_t from_entry; char *from; size_t fromlen; struct stamp from_stamp; bool from_settled;
    char tmp[TMP_NAME];
    int fd;                              /* of tmp while blocks come in (several blocks), else -1 */
    struct buf list;                     /* block references (several blocks), or as many as have come */
    struct id list_from;                 /* who sent those: only the whole can be checked, and somebody must have been wrong */
    bool list_looked;                    /* it is not in the index */
    uint64_t room;                       /* bytes taken of the memory for lists */
    uint8_t *have, *asked;               /* bitmaps: written, or about to be; asked for of somebody who is not late */
    uint32_t missing, next;              /* blocks not written yet; where to look for the next to ask for */
    struct id denied[ITEM_DENIED_MAX]; unsigned ndenied;   /* peers that said they do not have it */
    uint64_t *offset;                    /* of each block (several blocks) */
    struct share share;
    struct item *next_item, *prev_item;
};
struct items { struct item *head, *tail; size_t n; };
void items_add(struct items *l, struct item *it);
void items_del(struct items *l, struct item *it);

/* A request that has not been answered yet. Late: it is taken for lost, and others may be asked for the same; its answer, should it
 * come, is as good as any. */
struct request {
    struct pull *p;
    struct id dev;
    uint64_t sent;
    bool late, overtaken;
    void (*turn)(struct request *r, bool late);                          /* becomes late; or is not taken to be any more */
    void (*forget)(struct request *r, const struct item *it);            /* lets go of the item (NULL = of all), uncounted from late */
    struct request *next;
};
struct source {
    struct id dev; uint8_t inst[8];      /* of which start of it the following holds */
    uint64_t outstanding, window, good;
    uint32_t portion;                    /* bytes of small blocks that are asked for in one request */
    unsigned requests;                   /* for blocks, until they are written */
    unsigned strikes; uint64_t bad_until;
    uint64_t busy_until;
    uint64_t unshared_until, helped;     /* it owns nothing until then; when it last gave something that it owns */
    unsigned stalls;                     /* how often in a row it had nothing to give */
    struct request *first;               /* unanswered ones, in the order in which they were sent */
    uint64_t heard, patience; bool silent;
};

struct pull {
    struct pull_config c;
    struct items all;                    /* every item */
    struct item *asked_to;               /* nobody can be asked for anything of the items up to this one; NULL: not known */
    size_t listing;                      /* items that need their list */
    uint64_t due;                        /* nothing that is delayed is to be begun before; UINT64_MAX: nothing is */
    struct pathset entries;              /* keys: entry ids of items (8 bytes) */
    struct pathset roots;                /* keys: contents that are being fetched (pull.c) */
    struct pathset kept;                 /* keys: contents that items are still to be told of (pull_kept.c) */
    int64_t cursor; bool more, again;    /* where to go on in the wants; and then from the beginning */
    uint64_t shelved;                    /* when items had to make room for other wants */
    bool seek; uint64_t sought;          /* what is on this disk has changed; when unserved items were last looked for there */
    struct source *source; size_t nsource;
    bool sharing;                        /* items that wait are shared */
    uint64_t share_changed;              /* when all shares were to be looked at anew */
    bool placing, failed, freeing;
    bool untidy;                         /* there have been items since downloads were tidied up */
    bool nameless, naming; int64_t named;   /* kept files to be read; a job does; the last one that was tried */
    bool find, finding, looked;          /* pull_find; a job does; *lost are known */
    struct lost *lost; size_t nlost;     /* what is kept and no version names, and the paths it had */
    struct pathset busy;
    struct loop_timer timer;
    struct pull_figures figures;
    struct rate down;
    size_t ready, fetching;              /* fetching: requests that are not late, and jobs of theirs */
    uint64_t lists_max, lists, large;    /* memory that lists may take and take, and the one that is longer */
    uint64_t evicted;                    /* when somebody had to make room for them */
};

/* pull.c */
void item_state(struct pull *p, struct item *it, enum item_state s);
void item_done(struct pull *p, struct item *it);                         /* its want is fulfilled or gone: freed when nothing refers to it */
bool item_outdated(struct pull *p, struct item *it);                       /* its want is gone: then it is done */
void item_fail(struct pull *p, struct item *it, uint64_t in_ms);         /* begun anew later */
void item_release_root(struct pull *p, struct item *it);   /* others that want the same content need not wait for this one any more */
bool item_allowed(struct pull *p, struct item *it);                        /* else it gives up its place, and comes again when it is */
void item_set_aside(struct pull *p, struct item *it, uint64_t for_ms);   /* the same, and gives up its memory; nothing may be under way */
void item_unref(struct pull *p, struct item *it);
void pull_wake(struct pull *p, uint64_t in_ms);
void pull_set_failed(struct pull *p, const char *text);
bool item_known(const struct pull *p, int64_t entry);
void item_claim(struct pull *p, int64_t entry);
void item_unclaim(struct pull *p, int64_t entry);
/* pull_local.c */
bool local_move(struct pull *p, struct item *it);                        /* found a file to rename: READY */
bool local_copy(struct pull *p, struct item *it);                        /* found content to copy: a job has begun */
bool local_has(struct pull *p, const struct item *it);                   /* there is something that local_copy would take */
void local_prepare(struct pull *p, struct item *it);                     /* opens tmp, finds blocks that are here; then BLOCKS or READY */
/* pull_source.c */
struct source *source_find(const struct pull *p, const struct id *dev);
void source_start(struct source *s, const uint8_t inst[static 8]);       /* a new start of it: a new beginning */
bool source_strike(struct source *s, uint64_t now);                      /* true = from now on it is bad */
bool source_bad(const struct source *s, uint64_t now);
void source_sent(struct source *s, struct request *r, uint64_t now);
void source_heard(struct source *s, struct request *r, uint64_t now);    /* r has its answer */
void source_gave_up(struct source *s, struct request *r);                /* r will have none */
uint64_t source_watch(struct source *s, uint64_t now);                   /* turns its requests late; when to look again, or UINT64_MAX */
void source_move_window(struct source *s, uint64_t bytes, bool ok);
void source_pace(struct source *s, uint64_t bytes, uint64_t ms);         /* so much has come within that time */
uint64_t source_patience(const struct source *s);                        /* for one request more, after all that was asked of it */
size_t sources_of(struct pull *p, const struct item *it, struct id *dev); /* who may be asked for it, surest first; SOURCES_MAX */
bool item_unserved(struct pull *p, const struct item *it);                 /* it waits for content that nobody gives */
void deny(struct item *it, const struct id *dev);
bool denied(const struct item *it, const struct id *dev);
void strike(struct pull *p, const struct id *dev, const char *what);     /* it sent something wrong */
void rest(struct pull *p, struct source *s, uint64_t ms);                /* it is left alone for as long as it asks, within reason */
void sources_forget(struct pull *p, const struct item *it);              /* late requests let go of it */
/* pull_list.c */
void list_pump(struct pull *p);
void list_drop(struct pull *p, struct item *it);                         /* frees the list and its room */
/* pull_fetch.c: a request for blocks, from its reply until all is written.
 * code: 1 = to be written, from then on 0 or why it was not; ERR_CLOSED = there is nothing to be done about it any more. The item is NULL
 * once a late request has let go of it. mode, plain: of a file that is one block. owner: all was asked of it because it owns that (pull_share.c). */
struct piece { struct item *it; uint32_t idx, len, off, mode; uint64_t at; struct id id; int code; bool plain; };
struct block_request {
    struct request r; struct job job;
    uint64_t bytes, ahead; bool owner;   /* ahead: what its source owed then, with these */
    uint32_t n; struct piece v[LIMIT_GET_BLK];
    zmq_msg_t body;
};
struct block_request *fetch_new(struct pull *p, const struct id *dev);
void fetch_answer(void *request, const struct msg *m, zmq_msg_t *body);
void fetch_release(struct pull *p);
/* pull_ask.c */
void fetch_pump(struct pull *p);                                         /* asks for all that may be asked for now */
/* pull_share.c */
uint64_t share_weight(const struct id *dev, const struct id *root, uint32_t unit);
uint32_t share_unit(uint32_t nblocks);
void share_look(struct pull *p, struct item *it);                        /* brings it->share up to date */
void share_drop(struct item *it);
bool share_lacks(const struct item *it, size_t source);                  /* it is asked for what it owns, and nothing else */
bool share_has(const struct item *it, size_t source);                    /* it has all of it */
bool share_is_of(const struct item *it, uint32_t block, int who);        /* who: a source, SHARE_SELF; SHARE_ANY: everybody's */
void share_stalled(struct pull *p, struct source *s, bool unknown);      /* it had nothing of what it owns */
void share_helped(struct source *s);
int  share_part(void *pull, const struct msg_blk_want *w, struct serve_part *out);
void share_news(const struct pull *p, const struct item *it, int64_t block);     /* there is more to give: a block, or -1 */
/* pull_place.c */
void place_pump(struct pull *p);
/* pull_crash.c */
int  place_clean_up(struct pull *p) MUST_CHECK;
void downloads_remove(struct pull *p);                                   /* all that are in tmp/, also those that items go on with */
void downloads_tidy(struct pull *p);                                     /* when nothing is wanted any more */
/* pull_kept.c */
void kept_pump(struct pull *p);
/* A kept file has that content: what was to be kept is kept, in a transaction; what was to be fetched can be copied, once kept_tell has gone through
 * the items for all of those. */
int  kept_found(struct pull *p, const struct id *root) MUST_CHECK;
void kept_tell(struct pull *p);
/* pull_found.c */
struct lost { char *name, *path; size_t len; struct id root; };    /* name "": packed; root and, once it is read, the path */
void found_pump(struct pull *p);
void found_release(struct pull *p);

#endif
