/* hlc: hybrid logical clocks (Kulkarni et al., "Logical Physical Clocks", 2014), 48 bits of milliseconds since 1970 and 16 bits
 * of counter in one uint64_t that compares as a number. They never decide causality; they only pick a winner among versions
 * that are truly concurrent. */
#ifndef PROTO_HLC_H
#define PROTO_HLC_H

#include <stdint.h>

/* The next value for a local event: greater than `last`, and at `wall_ms` unless `last` is ahead of it. (The greatest
 * value has no next: it stays. No clock comes near it, and received values are bounded by their reader.) */
uint64_t hlc_next(uint64_t last, uint64_t wall_ms);
/* What `last` becomes after `seen` was received: the greater one. */
uint64_t hlc_seen(uint64_t last, uint64_t seen);
uint64_t hlc_ms(uint64_t hlc);
uint64_t hlc_make(uint64_t ms, uint16_t counter); /* ms beyond 48 bits counts as the greatest */

#endif
