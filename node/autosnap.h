/* autosnap: snapshots that are made by themselves, by the setting `snapshots`: "hourly=24 daily=7 weekly=4", any of the three, says how many
 * of each are kept; "" = none.
 *
 * They are called auto-hourly-2026-11-21T14, auto-daily-2026-11-21, auto-weekly-2026-W47 (ISO 8601), in UTC: of each period there is one,
 * made soon after the period has begun, and only if something has changed since the one before. Only those that this device has made
 * are removed by it. Time is an argument: nothing here has a clock. */
#ifndef NODE_AUTOSNAP_H
#define NODE_AUTOSNAP_H

#include <stdint.h>

#include "proto/err.h"
#include "proto/limits.h"

struct engine;
enum period { PERIOD_HOUR, PERIOD_DAY, PERIOD_WEEK, PERIODS };
struct autosnap {
    uint32_t keep[PERIODS];                          /* 0: none of them */
    char done[PERIODS][LIMIT_SNAPSHOT_NAME + 1];     /* for which period that has been seen to; zero it once */
};
/* Sets `keep`. ERR_BAD. */
int  autosnap_parse(const char *text, struct autosnap *out) MUST_CHECK;
void autosnap_name(enum period p, uint64_t wall_ms, char out[static LIMIT_SNAPSHOT_NAME + 1]);
/* Makes what is due and removes what is too many, in transactions of its own. Costs next to nothing when there is nothing to do. 1 = entries
 * were committed. */
int  autosnap_run(struct autosnap *a, struct engine *e, uint64_t wall_ms) MUST_CHECK;

#endif
