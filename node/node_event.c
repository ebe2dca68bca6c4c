/* What happens, told to those who follow `lanyard events`, and to the hooks. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "node/api.h"
#include "node/hook.h"

#define PAIRS 16                       /* keys and values of an event */
#define FACTS (PAIRS / 2 + 6)

/* "LANYARD_KEY=value". */
static char *fact(const char *key, const char *value)
{
    size_t len = strlen(key) + strlen(value) + sizeof "LANYARD_=";
    char *f = xcalloc(len, 1);
    snprintf(f, len, "LANYARD_%s=%s", key, value);
    for (char *p = f; *p != '='; p++)
        *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    return f;
}

static void tell_hooks(struct node *n, const char *event, const char *now, const char *const *kv, size_t k)
{
    char *facts[FACTS] = {0};
    size_t m = 0;
    const struct member *self = group_find(control_group(n->home->control), &n->home->keys->dev);
    facts[m++] = fact("EVENT", event);
    facts[m++] = fact("TIME", now);
    facts[m++] = fact("HOME", n->home->path);
    facts[m++] = fact("FOLDER", n->config.folder);
    facts[m++] = fact("DEVICE", self ? self->card.name : "?");
    for (size_t i = 0; i + 1 < k; i += 2)
        facts[m++] = fact(kv[i], kv[i + 1]);
    hooks_run(n->hooks, event, (const char *const *)facts);
    if (n->config.notify)
        hooks_notify(n->hooks, event, (const char *const *)facts);
    for (size_t i = 0; i < m; i++)
        free(facts[i]);
}

void node_event(struct node *n, const char *event, ...)
{
    if (!n->api)
        return;
    AUTO(buf_release) struct buf map = BUF_INIT(64 * 1024);
    const char *kv[PAIRS];
    size_t k = 0;
    va_list ap;
    va_start(ap, event);
    while (k < PAIRS && (kv[k] = va_arg(ap, const char *)))
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
    tell_hooks(n, event, now, kv, k);
}

void node_time(char out[static 40], uint64_t ms)
{
    time_t t = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&t, &tm);
    size_t n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, 40 - n, ".%03uZ", (unsigned)(ms % 1000));
}
