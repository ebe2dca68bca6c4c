/* when: durations and times as people write and read them. Times are milliseconds since 1970, UTC. */
#ifndef CLI_WHEN_H
#define CLI_WHEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WHEN_TEXT 40

int64_t when_now(void);
/* "90", "90s", "15m", "2h", "1h30m", "1d", "1w", "250ms", "0.5": false when it is none of these, or longer than a century. */
bool when_duration(const char *text, int64_t *ms);
/* RFC 3339: "2026-01-31T13:45:10Z", with a fraction, with an offset, with a space for the T. False when it is not. */
bool when_time(const char *text, size_t len, int64_t *ms);
/* RFC 3339, UTC, with milliseconds, as the node writes times. Returns out. */
const char *when_text(int64_t ms, char out[static WHEN_TEXT]);
/* For people: "just now", "12 s ago", "in 14 min", "3 days ago"; what is further away than 30 days as a date. Returns out. */
const char *when_relative(int64_t ms, int64_t now_ms, char out[static WHEN_TEXT]);
/* For people: "3 s", "2 min 10 s", "1 h 5 min", "3 days". Returns out. */
const char *when_span(int64_t ms, char out[static WHEN_TEXT]);

#endif
