/* serve: answers what peers ask of the content: block lists, which blocks are here, blocks. A block is read from wherever it lies (a file
 * of the folder, a kept version, a pack), in a worker, and is sent only if it matches its id. A file that does not
 * any more is not served and is looked at again.
 * What is not here is answered as such.
 *
 * Requests wait in small form, a line for each client, and are served in turns by bytes (node/queue.h) as far as memory allows: there
 * is one limit for all that is being read and all that libzmq has not sent yet, whoever it is for. More than a few requests of one
 * client, and those that have waited for too long, are answered BUSY. What is sent holds to a rate (node/rate.h). */
#ifndef NODE_SERVE_H
#define NODE_SERVE_H

#include "node/engine.h"
#include "node/net.h"
#include "node/pool.h"
#include "node/rate.h"
#include "store/folder.h"
#include "store/packs.h"

struct serve;
struct serve_config {
    struct loop *loop; struct pool *pool; struct net *net; struct folder *folder; struct index *index;
    void (*look)(void *arg, const char *path, size_t len); void *arg;
    struct rate_plan each;                   /* the same to each client */
    struct rate_plan up;                     /* how much may be sent of contents and lists of blocks */
};
/* A block of a file that is being fetched: where it lies among the temporary files of the folder, and where it is if it has just been put into
 * place (borrowed; NULL: nowhere else). */
struct serve_part { char tmp[64]; const char *path; size_t pathlen; uint64_t off; uint32_t len; };
/* 0; ERR_AGAIN: it is on its way; ERR_NOTFOUND. */
typedef int (*serve_part_fn)(void *arg, const struct msg_blk_want *w, struct serve_part *out);
int  serve_new(const struct serve_config *c, struct serve **out) MUST_CHECK;
void serve_free(struct serve **s);
/* GET_TREE, HAVE, GET_BLK. */
void serve_request(struct serve *s, const struct net_from *from, const struct msg *m);
/* Who is asked for blocks of contents that are not here as a whole (NULL: nobody), and who tells when there are more of them: `block`, or -1,
 * whatever it may be. A request for blocks that are on their way waits for them, for WAIT_MS at most (serve.c). */
void serve_unfinished(struct serve *s, serve_part_fn fn, void *arg);
void serve_news(struct serve *s, const struct id *root, int64_t block);
uint64_t serve_bytes(const struct serve *s);    /* content sent since the start */

/* ---- serve_find.c: where the bytes of a content lie on this disk, for whoever reads them whole (`lanyard cat`, a copy) ----
 * The caller owns it: a path of the folder with its stamp; a name among the kept ones; or packed (kept is true then too, path NULL), of which
 * serve_gather notes where each block is.
 *   serve_find    in the loop      ERR_NOTFOUND: not here
 *   serve_gather  in the loop      ERR_CORRUPT: some of it is not where it was packed
 *   serve_open    in a worker      a packed content is put together in a nameless temporary file, every block verified */
struct place_of {
    bool kept, packed; char *path; size_t len; struct stamp stamp;
    struct id root; uint64_t size; uint8_t *refs; struct pack_at *block; uint32_t nblocks;     /* packed; refs NULL: one block */
};
int serve_find(struct index *ix, const struct id *root, struct place_of *out) MUST_CHECK;
int serve_find_kept(struct index *ix, const struct id *root, struct place_of *out) MUST_CHECK;     /* not in the folder */
int serve_gather(struct index *ix, struct place_of *at) MUST_CHECK;
int serve_open(const struct folder *f, const struct place_of *at, int *fd) MUST_CHECK;
void place_of_release(struct place_of *p);

#endif
