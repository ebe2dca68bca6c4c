/* hist: which devices hold which contents, also superseded ones. History is a property of the group: a device that edits a file in
 * place has not got its old content any more, but every device that took the new version has put the old one away.
 *
 * An inquiry is made of the contents that somebody wants to know of, asks every device that is linked at once, and knows more with
 * every answer. In a large group, where not all who are online are linked (far.h), the others are linked and asked when nobody has said to
 * hold one of the contents. About the versions of one path each device is asked one question (GET_HIST); about contents of many paths one for each
 * content (HAVE), a few under way at a time. What is not answered within HIST_MS, or at all, counts as not held. A device is believed: its
 * content proves itself when it comes.
 *
 *   hist_new, hist_add..., hist_ask, hist_over? hist_holders..., hist_free (at any time)
 *
 * hist_answer is the other side: what this device says when it is asked for a path. */
#ifndef NODE_HIST_H
#define NODE_HIST_H

#include "node/engine.h"
#include "node/peers.h"

#define HIST_MS 2000
#define HIST_ALL_MS (2 * HIST_MS + PEERS_GATHER_MS)      /* with those who are to be linked first */
#define HIST_LOOKED 1000             /* versions of a path that an answer is about: the newest */

struct hist;
/* Both are borrowed for its life. */
struct hist *hist_new(struct peers *peers, const struct group *group);
/* Questions that are under way end in silence. */
void hist_free(struct hist **h);
/* A content of so many blocks, before hist_ask. The same one twice is fine. */
void hist_add(struct hist *h, const struct id *root, uint32_t nblocks);
/* With a path, all that was added is content of its versions, of which there are at most HIST_LOOKED; NULL: of whatever path. `news` is called once, when the last answer has come
 * or will not come any more; not from within, and not after hist_free. Once an inquiry. */
void hist_ask(struct hist *h, const char *path, size_t len, void (*news)(void *arg), void *arg);
bool hist_over(const struct hist *h);
/* The devices that said they hold it, at most max. */
size_t hist_holders(const struct hist *h, const struct id *root, struct id *dev, size_t max);

/* The body of HIST: every version of the path whose blocks lie on this disk. ERR_NOTFOUND: no such path. */
int  hist_answer(struct engine *e, struct index *ix, const char *path, size_t len, struct buf *body) MUST_CHECK;

#endif
