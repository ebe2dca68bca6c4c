/* The pure parts of discovery: TXT record, tags, addresses, and the merging of what is seen (txt.h, peers.h). */
#include <arpa/inet.h>
#include <avahi-common/malloc.h>
#include <dlfcn.h>
#include <sodium.h>

#include "discovery/peers.h"
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

/* --- addresses -------------------------------------------------------------------------------------------------------- */

static int text_of(const char *address, int ifindex, bool loopback, char out[static ADDR_TEXT])
{
    struct in_addr four;
    struct in6_addr six;
    if (inet_pton(AF_INET, address, &four) == 1)
        return addr_text4(out, &four, loopback);
    CHECK(inet_pton(AF_INET6, address, &six) == 1);
    return addr_text6(out, &six, ifindex, loopback);
}

static void addresses_become_what_can_be_dialled(void)
{
    char text[ADDR_TEXT];
    OK(text_of("192.0.2.1", 3, false, text));
    EQ_S(text, "192.0.2.1");
    OK(text_of("2001:db8::1", 3, false, text));
    EQ_S(text, "2001:db8::1");
    OK(text_of("fe80::1", 3, false, text));
    EQ_S(text, "fe80::1%3");
    OK(text_of("127.0.0.1", 1, true, text));
    EQ_S(text, "127.0.0.1");
    OK(text_of("fe80:1111:2222:3333:4444:5555:6666:7777", 2147483647, false, text));
    EQ_S(text, "fe80:1111:2222:3333:4444:5555:6666:7777%2147483647");
}

static void addresses_that_lead_nowhere_are_refused(void)
{
    static const char *const BAD[] = { "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.0.1", "224.0.0.251", "240.0.0.1", "255.255.255.255",
                                       "::", "::1", "ff02::fb", "::ffff:192.0.2.1", "::192.0.2.1" };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        char text[ADDR_TEXT];
        FAILS(text_of(BAD[i], 3, false, text), ERR_BAD, "cannot be dialled");
    }
}

static void ipv4_comes_first_and_link_local_last(void)
{
    static const char *const ORDER[] = { "10.0.0.1", "192.0.2.1", "2001:db8::1", "fd00::1", "fe80::1%2", "fe80::1%3" };
    for (int i = 0; i < 6; i++)
        for (int k = 0; k < 6; k++) {
            int c = addr_cmp(ORDER[i], ORDER[k]);
            CHECK((c > 0) - (c < 0) == (i > k) - (i < k));
        }
}

/* --- merging ---------------------------------------------------------------------------------------------------------- */

static const struct txt TXT = { .pub_port = 99 };
static struct peers table;
static int dropped;                 /* resolvers that were given back */

static void count_drop(void *arg, void *resolver)
{
    CHECK(arg == &table && resolver);
    dropped++;
}

static void fresh(void)
{
    peers_release(&table);
    table = (struct peers){ .drop = count_drop, .arg = &table };
    dropped = 0;
}

static void seen(const char *name, int ifindex, int proto, const char *addr)
{
    struct where w = { ifindex, proto };
    CHECK(peers_see(&table, name, w));
    peers_resolve(&table, name, w, addr, 7447, &TXT, false);
}

static struct disc_event event(int type)
{
    struct disc_event e;
    CHECK(peers_next(&table, &e));
    EQ_I(e.type, type);
    return e;
}

static void expect_nothing(void)
{
    struct disc_event e;
    CHECK(!peers_next(&table, &e));
    CHECK(!peers_changed(&table));
}

static void sightings_of_one_instance_are_one_peer(void)
{
    fresh();
    seen("a-1", 2, 1, "fe80::1%2");
    seen("a-1", 2, 0, "10.0.0.1");
    seen("a-1", 3, 1, "2001:db8::1");
    seen("a-1", 3, 0, "10.0.0.1");
    struct disc_event e = event(DISC_FOUND);
    EQ_S(e.instance, "a-1");
    EQ_U(e.port, 7447);
    EQ_U(e.pub_port, 99);
    EQ_U(e.naddr, 3);
    EQ_S(e.addr[0], "10.0.0.1");
    EQ_S(e.addr[1], "2001:db8::1");
    EQ_S(e.addr[2], "fe80::1%2");
    expect_nothing();
}

static void nothing_is_told_before_it_is_resolved(void)
{
    fresh();
    CHECK(peers_see(&table, "a-1", (struct where){ 2, 0 }));
    expect_nothing();
    peers_lose(&table, "a-1", (struct where){ 2, 0 });
    expect_nothing();
    peers_sweep(&table);
    EQ_U(table.n, 0);
}

static void it_is_lost_with_its_last_sighting(void)
{
    fresh();
    seen("a-1", 2, 0, "10.0.0.1");
    seen("a-1", 3, 0, "10.0.1.1");
    EQ_U(event(DISC_FOUND).naddr, 2);
    peers_lose(&table, "a-1", (struct where){ 2, 0 });
    struct disc_event e = event(DISC_FOUND);
    EQ_U(e.naddr, 1);
    EQ_S(e.addr[0], "10.0.1.1");
    peers_lose(&table, "a-1", (struct where){ 3, 0 });
    peers_sweep(&table);            /* it must be told before it is forgotten */
    EQ_S(event(DISC_LOST).instance, "a-1");
    expect_nothing();
    peers_sweep(&table);
    EQ_U(table.n, 0);
}

static void one_that_does_not_answer_is_lost_and_comes_back(void)
{
    fresh();
    seen("a-1", 2, 0, "10.0.0.1");
    event(DISC_FOUND);
    peers_unresolve(&table, "a-1", (struct where){ 2, 0 });
    event(DISC_LOST);
    seen("a-1", 2, 0, "10.0.0.2");
    EQ_S(event(DISC_FOUND).addr[0], "10.0.0.2");
}

static void only_changes_are_told(void)
{
    fresh();
    seen("a-1", 2, 0, "10.0.0.1");
    event(DISC_FOUND);
    seen("a-1", 2, 0, "10.0.0.1");
    expect_nothing();
    peers_resolve(&table, "a-1", (struct where){ 2, 0 }, "10.0.0.1", 7447, &(struct txt){ .pub_port = 99, .hint = "AB" }, true);
    struct disc_event e = event(DISC_FOUND);
    EQ_S(e.hint, "AB");
    CHECK(e.ours);
    peers_resolve(&table, "a-1", (struct where){ 2, 0 }, "10.0.0.1", 7447, &TXT, true);
    EQ_S(event(DISC_FOUND).hint, "");
    expect_nothing();
}

static void coming_and_going_between_two_looks_is_silent(void)
{
    fresh();
    seen("a-1", 2, 0, "10.0.0.1");
    peers_lose(&table, "a-1", (struct where){ 2, 0 });
    expect_nothing();
}

static void a_change_of_backend_goes_unnoticed(void)
{
    fresh();
    seen("a-1", 2, 0, "10.0.0.1");
    seen("a-2", 2, 0, "10.0.0.2");
    event(DISC_FOUND), event(DISC_FOUND);
    peers_find(&table, "a-1", (struct where){ 2, 0 })->resolver = &table;
    peers_abandon(&table, 1000);
    EQ_I(dropped, 0);
    CHECK(!peers_find(&table, "a-1", (struct where){ 2, 0 })->resolver);
    EQ_I(peers_expire(&table, 999), 1000);
    seen("a-1", 2, 0, "10.0.0.1");
    expect_nothing();
    EQ_I(peers_expire(&table, 1000), 0);
    EQ_S(event(DISC_LOST).instance, "a-2");
    expect_nothing();
}

static void only_what_is_seen_now_gets_a_resolver(void)
{
    const char *name;
    fresh();
    seen("a-1", 2, 0, "10.0.0.1");
    struct sighting *s = peers_pending(&table, 5, &name);
    CHECK(s);
    EQ_S(name, "a-1");
    s->resolve_at = 6;
    CHECK(!peers_pending(&table, 5, &name));
    CHECK(peers_pending(&table, 6, &name));
    s->resolver = &table;
    CHECK(!peers_pending(&table, 6, &name));
    peers_lose(&table, "a-1", (struct where){ 2, 0 });
    EQ_I(dropped, 1);
    seen("a-1", 2, 0, "10.0.0.1");
    peers_abandon(&table, 10);
    CHECK(!peers_pending(&table, 6, &name));
}

static void at_most_eight_addresses_the_best_ones(void)
{
    fresh();
    for (int i = 0; i < SIGHTINGS_MAX; i++) {
        char addr[ADDR_TEXT];
        snprintf(addr, sizeof addr, i % 2 ? "10.0.0.%d" : "fe80::1%%%d", 10 + i);
        seen("a-1", i, 0, addr);
    }
    struct disc_event e = event(DISC_FOUND);
    EQ_U(e.naddr, LIMIT_ADDRS);
    for (uint32_t i = 0; i < e.naddr; i++)
        CHECK(!strchr(e.addr[i], ':'));
    CHECK(!peers_see(&table, "a-1", (struct where){ 99, 0 }));
}

static void names_are_labels_of_1_to_63_bytes(void)
{
    char name[65];
    memset(name, 'x', sizeof name);
    name[64] = '\0';
    fresh();
    CHECK(!peers_see(&table, "", (struct where){ 2, 0 }));
    CHECK(!peers_see(&table, name, (struct where){ 2, 0 }));
    seen(name + 1, 2, 0, "10.0.0.1");
    EQ_U(strlen(event(DISC_FOUND).instance), 63);
}

static uint32_t count_seen(void)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < table.n; i++)
        n += table.v[i]->n > 0;
    return n;
}

/* A flood of strangers takes bounded room, and displaces neither our own nor one that waits to be joined. */
static void strangers_do_not_crowd_out_friends(void)
{
    char name[INSTANCE_TEXT];
    struct disc_event e;
    fresh();
    seen("friend", 2, 0, "10.0.0.1");
    peers_resolve(&table, "friend", (struct where){ 2, 0 }, "10.0.0.1", 1, &TXT, true);
    seen("inviter", 2, 0, "10.0.0.2");
    peers_resolve(&table, "inviter", (struct where){ 2, 0 }, "10.0.0.2", 1, &(struct txt){ .pub_port = 1, .hint = "AB" }, false);
    for (int i = 0; i < 5 * PEERS_MAX; i++) {
        snprintf(name, sizeof name, "a-%d", i);
        struct sighting *s = peers_see(&table, name, (struct where){ 2, 0 });
        if (s && i % 2)
            peers_resolve(&table, name, (struct where){ 2, 0 }, "10.0.0.3", 1, &TXT, false);
        CHECK(count_seen() <= PEERS_MAX && table.n <= PEERS_TABLE);
        if (i % 7 == 0)
            while (peers_next(&table, &e))
                continue;
    }
    CHECK(peers_find(&table, name, (struct where){ 2, 0 }));      /* the newest is in */
    CHECK(peers_find(&table, "friend", (struct where){ 2, 0 }));
    CHECK(peers_find(&table, "inviter", (struct where){ 2, 0 }));
}

static void a_table_full_of_friends_takes_no_more(void)
{
    char name[INSTANCE_TEXT];
    fresh();
    for (int i = 0; i < PEERS_MAX; i++) {
        snprintf(name, sizeof name, "a-%d", i);
        seen(name, 2, 0, "10.0.0.3");
        peers_resolve(&table, name, (struct where){ 2, 0 }, "10.0.0.3", 1, &TXT, true);
    }
    CHECK(!peers_see(&table, "one more", (struct where){ 2, 0 }));
}

/* Property: who applies the events, whenever he takes them, ends with exactly the instances that are there, with their addresses. */
static void whoever_follows_the_events_knows_what_is_there(void)
{
    enum { NAMES = 6, IFACES = 3 };
    for (uint64_t round = 1; round <= 300; round++) {
        uint64_t seed = round;
        uint32_t there[NAMES][IFACES] = { 0 }, told[NAMES] = { 0 };     /* a bit for the address's last byte */
        struct disc_event e;
        fresh();
        for (int i = 0; i < 200; i++) {
            uint64_t n = t_rand(&seed) % NAMES, f = t_rand(&seed) % IFACES;
            char name[8], addr[ADDR_TEXT];
            uint32_t last = 1 + (uint32_t)(t_rand(&seed) % 3 + 10 * f);
            snprintf(name, sizeof name, "a-%u", (unsigned)n);
            snprintf(addr, sizeof addr, "10.0.0.%u", last);
            switch (t_rand(&seed) % 5) {
            case 0: case 1: seen(name, (int)f, 0, addr); there[n][f] = 1u << last; break;
            case 2: peers_lose(&table, name, (struct where){ (int)f, 0 }); there[n][f] = 0; break;
            case 3: peers_unresolve(&table, name, (struct where){ (int)f, 0 }); there[n][f] = 0; break;
            default: peers_sweep(&table);
            }
            if (i < 199 && t_rand(&seed) % 4)
                continue;
            while (peers_next(&table, &e)) {
                uint32_t bits = 0;
                for (uint32_t a = 0; a < e.naddr; a++)
                    bits |= 1u << atoi(e.addr[a] + 7);
                CHECK((e.type == DISC_LOST) == (bits == 0));
                CHECK(told[e.instance[2] - '0'] != bits);
                told[e.instance[2] - '0'] = bits;
            }
            for (int k = 0; k < NAMES; k++)
                EQ_U(told[k], there[k][0] | there[k][1] | there[k][2]);
        }
    }
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
    RUN(addresses_become_what_can_be_dialled);
    RUN(addresses_that_lead_nowhere_are_refused);
    RUN(ipv4_comes_first_and_link_local_last);
    RUN(sightings_of_one_instance_are_one_peer);
    RUN(nothing_is_told_before_it_is_resolved);
    RUN(it_is_lost_with_its_last_sighting);
    RUN(one_that_does_not_answer_is_lost_and_comes_back);
    RUN(only_changes_are_told);
    RUN(coming_and_going_between_two_looks_is_silent);
    RUN(a_change_of_backend_goes_unnoticed);
    RUN(only_what_is_seen_now_gets_a_resolver);
    RUN(at_most_eight_addresses_the_best_ones);
    RUN(names_are_labels_of_1_to_63_bytes);
    RUN(strangers_do_not_crowd_out_friends);
    RUN(a_table_full_of_friends_takes_no_more);
    RUN(whoever_follows_the_events_knows_what_is_there);
    RUN(neither_avahi_library_is_linked);
    peers_release(&table);
    return t_done();
}
