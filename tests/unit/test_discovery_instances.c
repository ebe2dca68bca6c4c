/* What was seen on the network, merged by name, and the addresses of it that can be dialled (instances.h). */
#include <arpa/inet.h>

#include "discovery/instances.h"
#include "tests/unit/t.h"

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
static struct instances table;
static int dropped;                 /* resolvers that were given back */

static void count_drop(void *arg, void *resolver)
{
    CHECK(arg == &table && resolver);
    dropped++;
}

static void fresh(void)
{
    instances_release(&table);
    table = (struct instances){ .drop = count_drop, .arg = &table };
    dropped = 0;
}

static void seen(const char *name, int ifindex, int proto, const char *addr)
{
    struct where w = { ifindex, proto };
    CHECK(instances_see(&table, name, w));
    instances_resolve(&table, name, w, addr, 7447, &TXT, false);
}

static struct disc_event event(int type)
{
    struct disc_event e;
    CHECK(instances_next(&table, &e));
    EQ_I(e.type, type);
    return e;
}

static void expect_nothing(void)
{
    struct disc_event e;
    CHECK(!instances_next(&table, &e));
    CHECK(!instances_changed(&table));
}

static void sightings_of_one_instance_are_told_as_one(void)
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
    CHECK(instances_see(&table, "a-1", (struct where){ 2, 0 }));
    expect_nothing();
    instances_lose(&table, "a-1", (struct where){ 2, 0 });
    expect_nothing();
    instances_sweep(&table);
    EQ_U(table.n, 0);
}

static void it_is_lost_with_its_last_sighting(void)
{
    fresh();
    seen("a-1", 2, 0, "10.0.0.1");
    seen("a-1", 3, 0, "10.0.1.1");
    EQ_U(event(DISC_FOUND).naddr, 2);
    instances_lose(&table, "a-1", (struct where){ 2, 0 });
    struct disc_event e = event(DISC_FOUND);
    EQ_U(e.naddr, 1);
    EQ_S(e.addr[0], "10.0.1.1");
    instances_lose(&table, "a-1", (struct where){ 3, 0 });
    instances_sweep(&table);            /* it must be told before it is forgotten */
    EQ_S(event(DISC_LOST).instance, "a-1");
    expect_nothing();
    instances_sweep(&table);
    EQ_U(table.n, 0);
}

static void one_that_does_not_answer_is_lost_and_comes_back(void)
{
    fresh();
    seen("a-1", 2, 0, "10.0.0.1");
    event(DISC_FOUND);
    instances_unresolve(&table, "a-1", (struct where){ 2, 0 });
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
    instances_resolve(&table, "a-1", (struct where){ 2, 0 }, "10.0.0.1", 7447, &(struct txt){ .pub_port = 99, .hint = "AB" }, true);
    struct disc_event e = event(DISC_FOUND);
    EQ_S(e.hint, "AB");
    CHECK(e.ours);
    instances_resolve(&table, "a-1", (struct where){ 2, 0 }, "10.0.0.1", 7447, &TXT, true);
    EQ_S(event(DISC_FOUND).hint, "");
    expect_nothing();
}

static void coming_and_going_between_two_looks_is_silent(void)
{
    fresh();
    seen("a-1", 2, 0, "10.0.0.1");
    instances_lose(&table, "a-1", (struct where){ 2, 0 });
    expect_nothing();
}

static void a_change_of_backend_goes_unnoticed(void)
{
    fresh();
    seen("a-1", 2, 0, "10.0.0.1");
    seen("a-2", 2, 0, "10.0.0.2");
    event(DISC_FOUND), event(DISC_FOUND);
    instances_find(&table, "a-1", (struct where){ 2, 0 })->resolver = &table;
    instances_abandon(&table, 1000);
    EQ_I(dropped, 0);
    CHECK(!instances_find(&table, "a-1", (struct where){ 2, 0 })->resolver);
    EQ_I(instances_expire(&table, 999), 1000);
    seen("a-1", 2, 0, "10.0.0.1");
    expect_nothing();
    EQ_I(instances_expire(&table, 1000), 0);
    EQ_S(event(DISC_LOST).instance, "a-2");
    expect_nothing();
}

static void only_what_is_seen_now_gets_a_resolver(void)
{
    const char *name;
    fresh();
    seen("a-1", 2, 0, "10.0.0.1");
    struct sighting *s = instances_pending(&table, 5, &name);
    CHECK(s);
    EQ_S(name, "a-1");
    s->resolve_at = 6;
    CHECK(!instances_pending(&table, 5, &name));
    CHECK(instances_pending(&table, 6, &name));
    s->resolver = &table;
    CHECK(!instances_pending(&table, 6, &name));
    instances_lose(&table, "a-1", (struct where){ 2, 0 });
    EQ_I(dropped, 1);
    seen("a-1", 2, 0, "10.0.0.1");
    instances_abandon(&table, 10);
    CHECK(!instances_pending(&table, 6, &name));
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
    CHECK(!instances_see(&table, "a-1", (struct where){ 99, 0 }));
}

static void names_are_labels_of_1_to_63_bytes(void)
{
    char name[65];
    memset(name, 'x', sizeof name);
    name[64] = '\0';
    fresh();
    CHECK(!instances_see(&table, "", (struct where){ 2, 0 }));
    CHECK(!instances_see(&table, name, (struct where){ 2, 0 }));
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
    instances_resolve(&table, "friend", (struct where){ 2, 0 }, "10.0.0.1", 1, &TXT, true);
    seen("inviter", 2, 0, "10.0.0.2");
    instances_resolve(&table, "inviter", (struct where){ 2, 0 }, "10.0.0.2", 1, &(struct txt){ .pub_port = 1, .hint = "AB" }, false);
    for (int i = 0; i < 5 * INSTANCES_MAX; i++) {
        snprintf(name, sizeof name, "a-%d", i);
        struct sighting *s = instances_see(&table, name, (struct where){ 2, 0 });
        if (s && i % 2)
            instances_resolve(&table, name, (struct where){ 2, 0 }, "10.0.0.3", 1, &TXT, false);
        CHECK(count_seen() <= INSTANCES_MAX && table.n <= INSTANCES_TABLE);
        if (i % 7 == 0)
            while (instances_next(&table, &e))
                continue;
    }
    CHECK(instances_find(&table, name, (struct where){ 2, 0 }));      /* the newest is in */
    CHECK(instances_find(&table, "friend", (struct where){ 2, 0 }));
    CHECK(instances_find(&table, "inviter", (struct where){ 2, 0 }));
}

static void a_table_full_of_friends_takes_no_more(void)
{
    char name[INSTANCE_TEXT];
    fresh();
    for (int i = 0; i < INSTANCES_MAX; i++) {
        snprintf(name, sizeof name, "a-%d", i);
        seen(name, 2, 0, "10.0.0.3");
        instances_resolve(&table, name, (struct where){ 2, 0 }, "10.0.0.3", 1, &TXT, true);
    }
    CHECK(!instances_see(&table, "one more", (struct where){ 2, 0 }));
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
            case 2: instances_lose(&table, name, (struct where){ (int)f, 0 }); there[n][f] = 0; break;
            case 3: instances_unresolve(&table, name, (struct where){ (int)f, 0 }); there[n][f] = 0; break;
            default: instances_sweep(&table);
            }
            if (i < 199 && t_rand(&seed) % 4)
                continue;
            while (instances_next(&table, &e)) {
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

int main(void)
{
    RUN(addresses_become_what_can_be_dialled);
    RUN(addresses_that_lead_nowhere_are_refused);
    RUN(ipv4_comes_first_and_link_local_last);
    RUN(sightings_of_one_instance_are_told_as_one);
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
    instances_release(&table);
    return t_done();
}
