/* The TXT record and the tag by which members recognise their group (txt.h), and that neither Avahi library is linked. */
#include <avahi-common/malloc.h>
#include <dlfcn.h>
#include <sodium.h>

#include "discovery/txt.h"
#include "tests/unit/t.h"

#define NOON 1785585600         /* 2026-08-01 12:00:00 UTC */
#define DAY 86400

static const uint8_t KEY[32] = "k of the tests";

/* --- TXT -------------------------------------------------------------------------------------------------------------- */

static int read_items(struct txt *t, const char *const *items)
{
    AvahiStringList *l = NULL;
    for (; *items; items++)
        l = avahi_string_list_add(l, *items);
    int rc = txt_read(l, t);
    avahi_string_list_free(l);
    return rc;
}
#define READ(t, ...) read_items((t), (const char *const[]){ __VA_ARGS__, NULL })

static void what_is_made_is_read_back(void)
{
    const struct txt all[] = {
        { .pub_port = 1 }, { .pub_port = 65535, .tag = "0123456789abcdef" }, { .pub_port = 7448, .hint = "7K" },
        { .pub_port = 10000, .tag = "ffffffffffffffff", .hint = "00" },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct txt back;
        AvahiStringList *l = txt_make(&all[i]);
        CHECK(avahi_string_list_serialize(l, NULL, 0) <= 200);
        int rc = txt_read(l, &back);
        avahi_string_list_free(l);
        OK(rc);
        CHECK(txt_same(&all[i], &back));
    }
}

static void the_record_has_exactly_the_documented_form(void)
{
    AvahiStringList *l = txt_make(&(struct txt){ .pub_port = 7448, .tag = "0123456789abcdef", .hint = "AB" });
    char *s = avahi_string_list_to_string(l);
    char copy[200];
    snprintf(copy, sizeof copy, "%s", s);
    avahi_free(s);
    avahi_string_list_free(l);
    EQ_S(copy, "\"v=1\" \"p=7448\" \"t=0123456789abcdef\" \"j=AB\"");
}

static void unknown_keys_and_letter_case_do_not_matter(void)
{
    struct txt t;
    OK(READ(&t, "V=1", "x=yz", "P=80", "path=/", "flag", "", "=", "T=0123456789abcdef", "J=AB"));
    EQ_U(t.pub_port, 80);
    EQ_S(t.tag, "0123456789abcdef");
    EQ_S(t.hint, "AB");
}

static void what_is_no_node_of_version_1_is_refused(void)
{
    struct txt t;
    FAILS(txt_read(NULL, &t), ERR_BAD, "version");
    FAILS(READ(&t, "p=80"), ERR_BAD, "version");
    FAILS(READ(&t, "v=2", "p=80"), ERR_BAD, "version");
    FAILS(READ(&t, "v=", "p=80"), ERR_BAD, "version");
    FAILS(READ(&t, "v=11", "p=80"), ERR_BAD, "version");
    static const char *const PORTS[] = { "p=", "p=0", "p=65536", "p=99999", "p=100000", "p=-1", "p=+1", "p= 1", "p=1x", "p=01", "p" };
    for (size_t i = 0; i < sizeof PORTS / sizeof *PORTS; i++)
        FAILS(READ(&t, "v=1", PORTS[i]), ERR_BAD, "no port");
    FAILS(READ(&t, "v=1", "p=80", "p=81"), ERR_BAD, "twice");
    FAILS(READ(&t, "v=1", "p=80", "t=a", "T=b"), ERR_BAD, "twice");
}

static void a_malformed_tag_or_hint_is_none(void)
{
    struct txt t;
    static const char *const BAD[] = { "t=", "t=0123456789abcde", "t=0123456789abcdef0", "t=0123456789ABCDEF", "t=0123456789abcdeg",
                                       "j=", "j=A", "j=ABC", "j=ab", "j=A ", "j=\xc3\xa4" };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        OK(READ(&t, "v=1", "p=80", BAD[i]));
        EQ_S(t.tag, "");
        EQ_S(t.hint, "");
    }
    AvahiStringList *l = avahi_string_list_add_arbitrary(NULL, (const uint8_t *)"t=01234567\0" "9abcdef", 18);
    l = avahi_string_list_add_arbitrary(l, (const uint8_t *)"j=\0A", 4);
    l = avahi_string_list_add_many(l, "v=1", "p=80", (char *)NULL);
    int rc = txt_read(l, &t);
    avahi_string_list_free(l);
    OK(rc);
    EQ_S(t.tag, "");
    EQ_S(t.hint, "");
}

/* Any bytes: no crash (the sanitizers look on), and nothing but the documented forms comes out. */
static void random_records_are_read_or_refused(void)
{
    uint64_t seed = 1;
    for (int round = 0; round < 20000; round++) {
        AvahiStringList *l = round % 2 ? avahi_string_list_new("v=1", "p=9", (char *)NULL) : NULL;
        for (uint64_t n = t_rand(&seed) % 6; n; n--) {
            uint8_t item[255];
            size_t len = t_rand(&seed) % 4 ? t_rand(&seed) % 22 : t_rand(&seed) % sizeof item;
            for (size_t i = 0; i < len; i++)
                item[i] = t_rand(&seed) % 3 ? (uint8_t)"vptj=0123456789abcdefAB"[t_rand(&seed) % 23] : (uint8_t)t_rand(&seed);
            if (len > 1 && t_rand(&seed) % 2)
                item[1] = '=';
            l = avahi_string_list_add_arbitrary(l, item, len);
        }
        struct txt t;
        int rc = txt_read(l, &t);
        avahi_string_list_free(l);
        if (rc < 0)
            continue;
        CHECK(t.pub_port != 0);
        CHECK(!t.tag[0] || strspn(t.tag, "0123456789abcdef") == 16);
        CHECK(!t.hint[0] || hint_is_valid(t.hint));
    }
}

/* --- tags ------------------------------------------------------------------------------------------------------------- */

/* BLAKE2b-16(key, "a-abcdefgh20260801"), the first 8 bytes: computed here with libsodium alone. */
static void the_tag_is_the_documented_hash(void)
{
    uint8_t hash[16];
    char hex[TAG_TEXT], tag[TAG_TEXT];
    crypto_generichash(hash, sizeof hash, (const uint8_t *)"a-abcdefgh20260801", 18, KEY, sizeof KEY);
    sodium_bin2hex(hex, sizeof hex, hash, 8);
    tag_make(tag, KEY, "a-abcdefgh", NOON);
    EQ_S(tag, hex);
}

static void the_tag_changes_at_midnight_utc(void)
{
    char a[TAG_TEXT], b[TAG_TEXT];
    tag_make(a, KEY, "a-x", NOON);
    tag_make(b, KEY, "a-x", NOON - DAY / 2);
    EQ_S(a, b);
    tag_make(b, KEY, "a-x", NOON + DAY / 2 - 1);
    EQ_S(a, b);
    tag_make(b, KEY, "a-x", NOON + DAY / 2);
    CHECK(strcmp(a, b) != 0);
}

static void tags_of_yesterday_today_and_tomorrow_are_ours(void)
{
    for (int64_t now = NOON - DAY / 2; now < NOON + DAY / 2; now += 3599)
        for (int64_t day = -3; day <= 3; day++) {
            char tag[TAG_TEXT];
            tag_make(tag, KEY, "a-x", now + day * DAY);
            CHECK(tag_is_ours(tag, KEY, "a-x", now) == (day >= -1 && day <= 1));
        }
}

static void a_tag_is_bound_to_the_key_and_the_instance(void)
{
    static const uint8_t OTHER[32] = "another key";
    char tag[TAG_TEXT];
    tag_make(tag, KEY, "a-x", NOON);
    CHECK(tag_is_ours(tag, KEY, "a-x", NOON));
    CHECK(!tag_is_ours(tag, OTHER, "a-x", NOON));
    CHECK(!tag_is_ours(tag, KEY, "a-y", NOON));
    CHECK(!tag_is_ours("", KEY, "a-x", NOON));
}

/* Both libraries define it, with different arguments; see discovery/backend.h. */
static void neither_avahi_library_is_linked(void)
{
    CHECK(!dlsym(RTLD_DEFAULT, "avahi_entry_group_free"));
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    RUN(what_is_made_is_read_back);
    RUN(the_record_has_exactly_the_documented_form);
    RUN(unknown_keys_and_letter_case_do_not_matter);
    RUN(what_is_no_node_of_version_1_is_refused);
    RUN(a_malformed_tag_or_hint_is_none);
    RUN(random_records_are_read_or_refused);
    RUN(the_tag_is_the_documented_hash);
    RUN(the_tag_changes_at_midnight_utc);
    RUN(tags_of_yesterday_today_and_tomorrow_are_ours);
    RUN(a_tag_is_bound_to_the_key_and_the_instance);
    RUN(neither_avahi_library_is_linked);
    return t_done();
}
