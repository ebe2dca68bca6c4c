/* rate: how many bytes a second may go. What the user says (a plan: one rate, and others for hours of the week) and the token bucket that holds
 * to it: what goes may be of any size and takes its tokens, also those that are not there yet; nothing else goes until they have come. So a
 * block of 4 MiB passes a limit of 100 kB/s, and 42 s later the next one. At most BURST_MS of tokens are saved.
 *
 *   RATE [[DAYS,]HH:MM-HH:MM=RATE]...        20MB mon-fri,08:00-18:00=2MB sat-sun,22:00-06:00=0
 *
 * RATE: bytes a second, a whole number with B, kB, MB or GB (powers of 1000), at least 1kB; 0 = no limit. Of hours that overlap the last one
 * counts; those that end before they begin go on into the next day. Times are those of the machine's time zone. */
#ifndef NODE_RATE_H
#define NODE_RATE_H

#include <stdint.h>

#include "proto/err.h"

enum { RATE_SPANS = 16 };
struct rate_plan {
    uint64_t rate;                           /* 0: no limit */
    unsigned n;
    struct { uint8_t days; int from, to; uint64_t rate; } span[RATE_SPANS];   /* bit 0 = Sunday; minutes of the day */
};
int rate_parse(const char *text, struct rate_plan *out) MUST_CHECK;      /* ERR_USAGE; "" is "0" */
uint64_t rate_at(const struct rate_plan *p, int weekday, int minute);    /* 0 = Sunday */

struct rate { struct rate_plan plan; uint64_t per_s; int64_t tokens; uint64_t thousandths, at; };   /* zeroed but for the plan */
/* ms until something may go, 0 = now. now: loop_now; wall: loop_wall. */
uint64_t rate_wait(struct rate *r, uint64_t now, uint64_t wall);
void rate_take(struct rate *r, int64_t bytes);                           /* negative: so much less has gone than was taken */

#endif
