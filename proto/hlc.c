#include "proto/hlc.h"

#define COUNTER_BITS 16
#define MS_MAX ((UINT64_C(1) << 48) - 1)

uint64_t hlc_make(uint64_t ms, uint16_t counter)
{
    return (ms < MS_MAX ? ms : MS_MAX) << COUNTER_BITS | counter;
}

uint64_t hlc_ms(uint64_t hlc)
{
    return hlc >> COUNTER_BITS;
}

uint64_t hlc_next(uint64_t last, uint64_t wall_ms)
{
    uint64_t now = hlc_make(wall_ms, 0);
    if (now > last)
        return now;
    return last < UINT64_MAX ? last + 1 : last; /* a counter that overflows carries into the milliseconds */
}

uint64_t hlc_seen(uint64_t last, uint64_t seen)
{
    return seen > last ? seen : last;
}
