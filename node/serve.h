/* serve: answers what peers ask of the content: block lists, which blocks are here, blocks. A block is read from wherever it lies (a file
 * of the folder, a kept version, an unfinished download), in a worker, and is sent only if it matches its id. A file that does not
 * any more is not served and is looked at again.
 * What is not here is answered as such; more than a few requests of one peer at a time are answered BUSY. */
#ifndef NODE_SERVE_H
#define NODE_SERVE_H

#include "node/engine.h"
#include "node/net.h"
#include "node/pool.h"
#include "store/folder.h"

struct serve;
struct serve_config {
    struct loop *loop; struct pool *pool; struct net *net; struct folder *folder; struct index *index;
    void (*look)(void *arg, const char *path, size_t len); void *arg;
};
int  serve_new(const struct serve_config *c, struct serve **out) MUST_CHECK;
void serve_free(struct serve **s);
/* GET_TREE, HAVE, GET_BLK. */
void serve_request(struct serve *s, const struct net_from *from, const struct msg *m);
uint64_t serve_bytes(const struct serve *s);    /* content sent since the start */

/* Reading a version's content for somebody else than a peer (`lanyard cat`): where the bytes of `root` lie on this disk. The caller owns
 * and opens it: a path of the folder with its stamp, or a name among the kept ones. ERR_NOTFOUND. */
struct place_of { bool kept; char *path; size_t len; struct stamp stamp; };
int serve_find(struct index *ix, const struct id *root, struct place_of *out) MUST_CHECK;
int serve_open(const struct folder *f, const struct place_of *at, int *fd) MUST_CHECK;
void place_of_release(struct place_of *p);

#endif
