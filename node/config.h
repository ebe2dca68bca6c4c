/* config: HOME/config, lines `key = value`, # comments. One table has every key with type, default, range and help; parsing, checks,
 * `lanyard config` and the man page are made from it. Unknown keys, keys twice and bad values are errors with the file's name and
 * line. A value is what is behind the `=` without the white space around it; it has no control characters. */
#ifndef NODE_CONFIG_H
#define NODE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/buf.h"

struct config {
    char *folder;                 /* absolute path */
    char *listen;                 /* "ADDR:PORT", default "0.0.0.0:7447" (IPv6: "[::]:7447") */
    bool mdns;                    /* default true */
    bool notify;                  /* default true */
    char *peers;                  /* HOST:PORT separated by single spaces, default "" */
    char *history_days, *history_share;   /* whole numbers: 30 days, 10 percent */
    bool history_alone;           /* default true (node/keeper.h) */
    char *log_level;              /* error, warn, info, debug */
    char *hook_seconds;           /* a whole number, default 60 (node/hook.h) */
    char *rate_up, *rate_up_each, *rate_down;    /* "20MB mon-fri,08:00-18:00=2MB", default "0" (node/rate.h) */
    char *mesh;                   /* a whole number (node/far.h) */
    char *snapshots;              /* "hourly=24 daily=7 weekly=4", default "" (node/autosnap.h) */
};
struct config_key { const char *key; size_t at; const char *type, *def, *help; };    /* at: of its member: a bool, or a char * */
extern const struct config_key config_keys[];   /* ends with key NULL */

/* ERR_USAGE for an unknown key: the text names the nearest. */
int  config_find(const char *key, const struct config_key **out) MUST_CHECK;
/* Whether the key may have the value: ERR_USAGE "KEY: ...". */
int  config_check(const struct config_key *k, const char *value) MUST_CHECK;
/* The key's value as text; borrowed from c. */
const char *config_text(const struct config *c, const struct config_key *k);

/* What is not in the file has its default. ERR_BAD "PATH: line N: ...", also when there is no folder; ERR_NOTFOUND. */
int  config_load(const char *path, struct config *out) MUST_CHECK;
void config_release(struct config *c);
/* Text of one key's present value. */
int  config_get(const char *path, const char *key, struct buf *value) MUST_CHECK;
/* Checks and rewrites one line (or appends it), keeping everything else; tmp + fsync + rename. A bad line elsewhere is no obstacle,
 * so that it can be mended this way. */
int  config_set(const char *path, const char *key, const char *value) MUST_CHECK;
/* The first config of a home. ERR_USAGE for what config_set would refuse. */
int  config_create(const char *path, const char *folder, const char *peers) MUST_CHECK;

#endif
