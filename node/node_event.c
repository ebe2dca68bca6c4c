/* What happens, told to those who follow `lanyard events`. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "node/api.h"

void node_event(struct node *n, const char *event, ...)
{
    if (!n->api)
        return;
    AUTO(buf_release) struct buf map = BUF_INIT(64 * 1024);
    const char *kv[16];
    size_t k = 0;
    va_list ap;
    va_start(ap, event);
    while (k < 16 && (kv[k] = va_arg(ap, const char *)))
        k++;
    va_end(ap);
    char now[40];
    node_time(now, loop_wall());
    mp_put_map(&map, 2 + k / 2);
    mp_put_str(&map, "time");
    mp_put_str(&map, now);
    mp_put_str(&map, "event");
    mp_put_str(&map, event);
    for (size_t i = 0; i + 1 < k; i += 2) {
        mp_put_str(&map, kv[i]);
        mp_put_bin(&map, kv[i + 1], strlen(kv[i + 1]));
    }
    api_event(n->api, &map);
}

void node_time(char out[static 40], uint64_t ms)
{
    time_t t = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&t, &tm);
    size_t n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, 40 - n, ".%03uZ", (unsigned)(ms % 1000));
}
