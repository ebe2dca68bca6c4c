/* txt: what a node says in the TXT record of its service, and the tag by which members recognise their group. Pure.
 *
 * Reading is strict: "v=1" and a port in "p" must be there, and each of v, p, t, j at most once; unknown keys are skipped, for
 * later versions. A tag or a hint that has not its form counts as absent. Keys are compared without regard to case (RFC 6763). */
#ifndef DISCOVERY_TXT_H
#define DISCOVERY_TXT_H

#include <avahi-common/strlst.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/err.h"

#define TAG_TEXT 17                 /* 16 hex digits and NUL */
#define HINT_TEXT 3                 /* two symbols and NUL */
#define INSTANCE_TEXT 64            /* a DNS label and NUL */

struct txt {
    uint16_t pub_port;
    char tag[TAG_TEXT];             /* lower case, or "" */
    char hint[HINT_TEXT];           /* or "" */
};

AvahiStringList *txt_make(const struct txt *t);             /* free with avahi_string_list_free */
int  txt_read(AvahiStringList *list, struct txt *out) MUST_CHECK;   /* 0 or ERR_BAD */
bool txt_same(const struct txt *a, const struct txt *b);
bool hint_is_valid(const char *hint);                       /* two of 0-9, A-Z */

/* The tag of an instance on the UTC day of `now` (seconds since 1970). */
void tag_make(char out[static TAG_TEXT], const uint8_t k_disc[static 32], const char *instance, int64_t now);
/* Of yesterday, today or tomorrow: clocks differ, and a record lives in caches for more than an hour. */
bool tag_is_ours(const char *tag, const uint8_t k_disc[static 32], const char *instance, int64_t now);

#endif
