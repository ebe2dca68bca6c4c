/* announce: when this device's vector goes out. Each costs every peer that hears it a signature to check, so a round of N devices costs
 * N * N of them. What a device has written itself goes out at once. What it has taken from others it tells later the more peers there
 * are, and what comes meanwhile goes along: they hear of it from its author. And PUB loses messages by design, so all is said again:
 * soon after it was new, then less and less often where many would hear it. */
#ifndef NODE_ANNOUNCE_H
#define NODE_ANNOUNCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct node;
void announce_news(struct node *n);        /* something that the vector says may be another than before */
/* News wait for what is about to be added to them, until announce_release, but no longer than a moment. */
void announce_hold(struct node *n);
void announce_release(struct node *n);
void announce_end(struct node *n);

/* Milliseconds, partly by chance so that not all speak at the same moment. `own`: of what this device has written itself. */
uint64_t announce_news_pause(bool own, size_t peers);
/* *last: the pause before this one without its chance; `news`: the vector that has just gone out was not a repetition. */
uint64_t announce_repeat_pause(uint64_t *last, bool news, size_t peers);

#endif
