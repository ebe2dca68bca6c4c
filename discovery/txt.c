#include "discovery/txt.h"

#include <assert.h>
#include <avahi-common/malloc.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "proto/id.h"

#define DAY 86400

AvahiStringList *txt_make(const struct txt *t)
{
    AvahiStringList *l = avahi_string_list_new("v=1", (char *)NULL);
    l = avahi_string_list_add_printf(l, "p=%u", (unsigned)t->pub_port);
    if (t->tag[0])
        l = avahi_string_list_add_pair(l, "t", t->tag);
    if (t->hint[0])
        l = avahi_string_list_add_pair(l, "j", t->hint);
    return l;
}

bool txt_same(const struct txt *a, const struct txt *b)
{
    return a->pub_port == b->pub_port && strcmp(a->tag, b->tag) == 0 && strcmp(a->hint, b->hint) == 0;
}

bool hint_is_valid(const char *hint)
{
    return strlen(hint) == HINT_TEXT - 1 && strspn(hint, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == HINT_TEXT - 1;
}

/* One "key=value" of the record; value is not terminated. */
struct item { char key; const char *value; size_t len; };

/* Only keys of one letter are ours; anything else gets the key 0. */
static struct item item_of(AvahiStringList *l)
{
    const char *text = (const char *)avahi_string_list_get_text(l);
    size_t size = avahi_string_list_get_size(l);
    if (size < 2 || text[1] != '=')
        return (struct item){ 0 };
    char key = text[0];
    if (key >= 'A' && key <= 'Z')
        key = (char)(key - 'A' + 'a');
    return (struct item){ .key = key, .value = text + 2, .len = size - 2 };
}

/* 1..65535 in decimal digits without a leading zero, else 0. */
static uint16_t read_port(const struct item *it)
{
    unsigned v = 0;
    if (it->len == 0 || it->len > 5 || it->value[0] == '0')
        return 0;
    for (size_t i = 0; i < it->len; i++) {
        if (it->value[i] < '0' || it->value[i] > '9')
            return 0;
        v = v * 10 + (unsigned)(it->value[i] - '0');
    }
    return v <= UINT16_MAX ? (uint16_t)v : 0;
}

static void read_tag(const struct item *it, char out[static TAG_TEXT])
{
    if (it->len != TAG_TEXT - 1)
        return;
    for (size_t i = 0; i < it->len; i++)
        if (!strchr("0123456789abcdef", it->value[i]) || !it->value[i])
            return;
    memcpy(out, it->value, it->len);
}

static void read_hint(const struct item *it, char out[static HINT_TEXT])
{
    char hint[HINT_TEXT] = "";
    if (it->len != HINT_TEXT - 1)
        return;
    memcpy(hint, it->value, it->len);
    if (hint_is_valid(hint))
        memcpy(out, hint, sizeof hint);
}

int txt_read(AvahiStringList *list, struct txt *out)
{
    static const char KEYS[] = "vptj";
    struct item found[sizeof KEYS - 1] = { 0 };
    *out = (struct txt){ 0 };
    for (; list; list = avahi_string_list_get_next(list)) {
        struct item it = item_of(list);
        const char *at = it.key ? strchr(KEYS, it.key) : NULL;
        if (!at)
            continue;
        if (found[at - KEYS].key)       /* RFC 6763: the first one counts; but Avahi does not keep the order */
            return err_set(ERR_BAD, "TXT record: the key %c occurs twice", it.key);
        found[at - KEYS] = it;
    }
    if (found[0].len != 1 || found[0].value[0] != '1')
        return err_set(ERR_BAD, "TXT record: not of version 1");
    out->pub_port = read_port(&found[1]);
    if (out->pub_port == 0)
        return err_set(ERR_BAD, "TXT record: no port in p");
    read_tag(&found[2], out->tag);
    read_hint(&found[3], out->hint);
    return 0;
}

void tag_make(char out[static TAG_TEXT], const uint8_t k_disc[static 32], const char *instance, int64_t now)
{
    struct tm day;
    time_t t = (time_t)now;
    char label[INSTANCE_TEXT + 32];
    uint8_t hash[16];
    struct tm *known = gmtime_r(&t, &day);
    assert(known && strlen(instance) < INSTANCE_TEXT);
    snprintf(label, sizeof label, "%s%04d%02d%02d", instance, day.tm_year + 1900, day.tm_mon + 1, day.tm_mday);
    id_derive(hash, sizeof hash, k_disc, label, NULL, 0);
    hex_encode(out, hash, (TAG_TEXT - 1) / 2);
}

bool tag_is_ours(const char *tag, const uint8_t k_disc[static 32], const char *instance, int64_t now)
{
    char of_day[TAG_TEXT];
    for (int64_t t = now - DAY; t <= now + DAY; t += DAY) {
        tag_make(of_day, k_disc, instance, t);
        if (strcmp(tag, of_day) == 0)
            return true;
    }
    return false;
}
