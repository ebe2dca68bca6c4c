/* ring: of many devices, those that one keeps a connection to. All stand on a ring, by the first 8 bytes of their ids as a number. A device
 * chooses the two next to it on either side, so that the group stays one when any three go at once. Of those farther behind it, it chooses
 * one of all by lot; one at random from the last three of the first four sixteenths of the ring, and so on with quarters of that, as long as there
 * are more in there than are next to it anyway. So nobody has many more neighbours than others, from everybody to everybody it is a few steps, and when a
 * device comes or goes only few choices are others.
 *
 * At random means by a hash of both ids: the same one is chosen as long as it is there. An id can be made to fit: a member with many
 * devices can have all that one device chooses. So the lot is cast with a number that nobody knows and that is another now and then.
 * All in all a device has about 4 + 2 * log4(n) neighbours, since whom it chooses is its neighbour as well as who chooses it. */
#ifndef NODE_RING_H
#define NODE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/id.h"

#define RING_BESIDE 2u          /* on each side */

/* chosen[i]: whether `self`, which is not among them, chooses dev[i]. Any order; no device twice. draw: that number, not 0. */
void ring_choose(const struct id *self, const struct id *dev, size_t n, uint64_t draw, bool *chosen);

#endif
