/* far: in a group of more devices than the setting `mesh`, those that this one has no connection to. It keeps one to its neighbours, to those
 * that have chosen it, to those it was told to (--peer), and for a while to anybody it needs something from. Neighbours tell each
 * other the vectors of all (GET_VECS), which their authors have signed, and how long ago anybody heard of each. From that follows
 *   who is online: of whom anybody has heard within FAR_PRESENT_MS;
 *   whom to choose, of those who are online and can be dialled;
 *   what everybody has: for the status, for receipts, for what can be forgotten.
 * Control records, entries and contents go from neighbour to neighbour as they always do.
 *
 * Neighbours are not trusted to do so. Most are chosen by places on a ring (ring.h), which a member can arrange to be near; so one is
 * drawn by lot, and another one some time later. When a far device shows something that no neighbour has it is dialled after some
 * seconds; when neighbours show it, too, and it does not come, one far device after the other is. Who is not online is
 * dialled as ever, so parts of a group that meet become one, and nobody can be hidden.
 *
 * While no more are online than `mesh` says, this one counted, all of them are chosen. In a group that is no larger nothing of this happens, and everybody is
 * wished for. */
#ifndef NODE_FAR_H
#define NODE_FAR_H

#include "node/node_priv.h"

#define FAR_PRESENT_MS 60000u

void far_start(struct node *n);
void far_free(struct node *n);                       /* after the peers */

enum peer_wish far_wish(struct node *n, const struct id *dev);      /* peers_ops.wish */
bool far_present(const struct node *n, const struct id *dev);       /* online, and not linked */
bool far_is_large(const struct node *n);                            /* the group: some may not be linked */
void far_members(struct node *n);                                   /* the control log has grown: others may be members now */
/* What links tell: one is up, one has gone (whether the device is still online); a vector of its device, which was news, has been taken. */
void far_up(struct node *n, const struct id *dev);
bool far_down(struct node *n, const struct id *dev);
void far_vector(struct node *n, const struct id *dev, const void *blob, size_t len);
/* A neighbour shows control records that are new here: what they are about it has heard of, too. It is asked at once. */
void far_hurry(struct node *n, const struct id *dev);
void far_serve(struct node *n, const struct net_from *from, const struct msg *m, zmq_msg_t *body);
/* Something is looked for that anybody may have: for a minute everybody who is online is wished for. */
bool far_wish_all(struct node *n);               /* false: so it is anyway */
bool far_gather(struct node *n, loop_fn fn, void *arg);             /* peers_gather */
void far_end_gathering(struct node *n);          /* calls back all who wait; before the peers end */

#endif
