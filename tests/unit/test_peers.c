/* Addresses and the devices behind them. */
#include <arpa/inet.h>
#include <unistd.h>

#include "node/peers_priv.h"
#include "tests/unit/t_link.h"

static struct peers *peers[3];
static unsigned ups[3], downs[3], wrong;

static void ops_hello(void *arg, struct msg_hello *h) { say_hello(*(size_t *)arg, h); }
static bool ops_self(void *arg, const struct msg_hello *h) { (void)arg, (void)h; return true; }

static void ops_up(void *arg, const struct id *dev, struct link *l, const struct msg_hello *h)
{
    (void)h;
    ups[*(size_t *)arg]++;
    wrong += peers_link(peers[*(size_t *)arg], dev) != l;
}
static void ops_down(void *arg, const struct id *dev)
{
    downs[*(size_t *)arg]++;
    wrong += peers_link(peers[*(size_t *)arg], dev) != NULL;
}
static void ops_stranger(void *arg, struct link *l) { (void)arg, (void)l; }
static void ops_revoked(void *arg, struct link *l, bool self) { (void)arg, (void)self; link_kill(l, "revoked"); }
static void ops_vector(void *arg, struct link *l, const void *blob, size_t len) { (void)arg, (void)l, (void)blob, (void)len; }
static void ops_published(void *arg, struct link *l, uint64_t ctr) { (void)arg, (void)l, (void)ctr; }

static enum peer_wish wish = WISH_LINK;
static enum peer_wish ops_wish(void *arg, const struct id *dev) { (void)arg; return dev || wish == WISH_LINK ? wish : WISH_ROOM; }

static void end(void)
{
    for (size_t i = 0; i < 3; i++)
        peers_free(&peers[i]);
    memset(ups, 0, sizeof ups);
    memset(downs, 0, sizeof downs);
    wrong = 0;
    wish = WISH_LINK;
    sides_end();
}
static void peers_start(size_t i)
{
    static size_t index[3] = { 0, 1, 2 };
    struct peers_config c = { .stay_ms = 100, .loop = loop, .net = side[i].net, .keys = g.dev[i], .group = &g.group,
                              .ops = { ops_hello, ops_self, ops_up, ops_down, ops_stranger, ops_revoked, ops_vector, ops_published, ops_wish, NULL, &index[i] } };
    t_must(peers_new(&c, &peers[i]));
}
static void begin(size_t n)
{
    end();
    sides_begin(n);
    for (size_t i = 0; i < n; i++)
        peers_start(i);
}
/* What a node does when it is greeted. */
static void dial_back(size_t device, const struct net_from *from, const struct msg_hello *h)
{
    if (peers[device])
        peers_heard(peers[device], &h->dev, h->inst, from->address, h->port);
}

struct sees { size_t who, how_many; };
static bool sees(void *arg)
{
    struct sees *s = arg;
    return peers_online(peers[s->who]) == s->how_many;
}
static void until_sees(size_t who, size_t how_many) { UNTIL(loop, sees, &((struct sees){ who, how_many })); }
/* Long enough for several ticks, in which nothing is to happen. */
static bool never(void *arg) { return arg != NULL; }
static void go_on(void) { t_within(loop, 400, never, NULL); }

static void test_dials_and_is_dialled_back(void)
{
    begin(2);
    heard = dial_back;
    peers_add(peers[1], side[0].address, ADDR_STATIC);
    until_sees(1, 1);
    until_sees(0, 1);
    struct peer_info info;
    peers_info(peers[1], &g.dev[0]->dev, &info);
    CHECK(info.online && (info.source & ADDR_STATIC) && info.last_seen_ms);
    EQ_S(info.address, side[0].address);
    peers_info(peers[0], &g.dev[1]->dev, &info);
    CHECK(info.online && (info.source & ADDR_HEARD));
    EQ_S(info.address, side[1].address);
    peers_info(peers[0], &g.dev[2]->dev, &info);
    CHECK(!info.online && !info.address && !info.last_seen_ms);
    go_on();
    EQ_U(ups[0] + ups[1], 2);
    EQ_U(wrong, 0);
}

static void test_own_address_is_recognised(void)
{
    begin(1);
    peers_add(peers[0], side[0].address, ADDR_MDNS);
    while (!side[0].hellos)
        go_on();
    go_on();
    go_on();
    EQ_U(side[0].hellos, 1);
    EQ_U(peers_online(peers[0]) + ups[0] + downs[0], 0);
}

static void test_one_link_a_device(void)
{
    begin(2);
    char other[80];
    snprintf(other, sizeof other, "localhost:%u", net_port(side[0].net));
    peers_add(peers[1], side[0].address, ADDR_STATIC);
    peers_add(peers[1], side[0].address, ADDR_MDNS);
    peers_add(peers[1], other, ADDR_CACHE);
    until_sees(1, 1);
    while (side[0].hellos < 2)
        go_on();
    go_on();
    go_on();
    EQ_U(side[0].hellos, 2);
    EQ_U(ups[1], 1);
    EQ_U(downs[1], 0);
    EQ_U(peers_online(peers[1]), 1);
}

static void test_several_devices(void)
{
    begin(3);
    heard = dial_back;
    peers_add(peers[2], side[0].address, ADDR_STATIC);
    peers_add(peers[2], side[1].address, ADDR_STATIC);
    until_sees(2, 2);
    until_sees(0, 1);
    until_sees(1, 1);
    CHECK(peers_link(peers[2], &g.dev[0]->dev) != peers_link(peers[2], &g.dev[1]->dev));
}

static struct link *last_link;
static unsigned words;
static bool last_word(void *arg, struct link *l)
{
    words++;
    last_link = l;
    return *(bool *)arg;
}

/* Whoever is a member no more is nobody's peer at once; its link lives until it has been told, or ends. */
static void expelled(bool told)
{
    begin(3);
    words = 0;
    peers_add(peers[0], side[1].address, ADDR_STATIC);
    peers_add(peers[0], side[2].address, ADDR_STATIC);
    until_sees(0, 2);
    t_group_revoke(&g, 2);
    struct link *other = peers_link(peers[0], &g.dev[1]->dev), *gone = peers_link(peers[0], &g.dev[2]->dev);
    peers_expel(peers[0], last_word, &told);
    EQ_U(words, 1);
    EQ_U(downs[0], 1);
    CHECK(last_link == gone && !peers_link(peers[0], &g.dev[2]->dev));
    CHECK(peers_link(peers[0], &g.dev[1]->dev) == other && link_state(other) == LINK_UP);
    EQ_U(link_state(gone), told ? LINK_UP : LINK_DEAD);
    if (told)
        link_kill(gone, "told");
    go_on();
    peers_expel(peers[0], last_word, &told);
    EQ_U(words, 1);
    EQ_U(ups[0], 2);
    EQ_U(wrong, 0);
}
static void test_members_no_more_are_expelled(void)
{
    expelled(true);
    expelled(false);
}

static void test_pause(void)
{
    begin(2);
    peers_add(peers[1], side[0].address, ADDR_STATIC);
    until_sees(1, 1);
    peers_pause(peers[1], true);
    until_sees(1, 0);
    EQ_U(downs[1], 1);
    unsigned hellos = side[0].hellos;
    go_on();
    EQ_U(side[0].hellos, hellos);
    peers_add(peers[1], side[0].address, ADDR_MDNS);
    go_on();
    EQ_U(peers_online(peers[1]), 0);
    peers_pause(peers[1], false);
    until_sees(1, 1);
    EQ_U(wrong, 0);
}

static void test_comes_back_after_a_restart(void)
{
    begin(2);
    char listen[80];
    snprintf(listen, sizeof listen, "%s", side[0].address);
    peers_add(peers[1], listen, ADDR_STATIC);
    until_sees(1, 1);
    peers_free(&peers[0]);
    net_free(&side[0].net);
    until_sees(1, 0);
    struct peer_info info;
    peers_info(peers[1], &g.dev[0]->dev, &info);
    CHECK(!info.online && info.last_seen_ms);
    side_start(0, listen);
    until_sees(1, 1);
    EQ_U(downs[1], 1);
}

static void test_new_start_of_a_peer_ends_the_old_link(void)
{
    begin(2);
    peers_add(peers[1], side[0].address, ADDR_STATIC);
    until_sees(1, 1);
    uint8_t inst[8];
    memset(inst, 1, sizeof inst);
    peers_heard(peers[1], &g.dev[0]->dev, inst, "127.0.0.1", net_port(side[0].net));
    go_on();
    EQ_U(downs[1], 0);
    inst[0] = 77;
    peers_heard(peers[1], &g.dev[0]->dev, inst, "127.0.0.1", net_port(side[0].net));
    go_on();
    EQ_U(downs[1], 1);
    until_sees(1, 1);
    EQ_U(ups[1], 2);
}

static void test_removed_addresses_are_not_dialled(void)
{
    begin(2);
    peers_add(peers[1], side[0].address, ADDR_MDNS);
    peers_remove(peers[1], side[0].address, ADDR_MDNS);
    peers_remove(peers[1], "1.2.3.4:5", ADDR_MDNS);
    go_on();
    EQ_U(side[0].hellos, 0);
    /* With another source it stays; a link that stands is not cut. */
    peers_add(peers[1], side[0].address, ADDR_MDNS);
    peers_add(peers[1], side[0].address, ADDR_STATIC);
    peers_remove(peers[1], side[0].address, ADDR_MDNS);
    until_sees(1, 1);
    peers_remove(peers[1], side[0].address, ADDR_STATIC);
    go_on();
    EQ_U(peers_online(peers[1]), 1);
    link_kill(peers_link(peers[1], &g.dev[0]->dev), "test");
    go_on();
    EQ_U(peers_online(peers[1]), 0);
    go_on();
    EQ_U(side[0].hellos, 1);
}

static void test_hopeless_addresses(void)
{
    begin(2);
    char text[200];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    peers_add(peers[1], text, ADDR_STATIC);
    peers_add(peers[1], "no address", ADDR_STATIC);
    peers_add(peers[1], "127.0.0.1:1", ADDR_STATIC);
    uint8_t inst[8] = { 0 };
    peers_heard(peers[1], &g.dev[0]->dev, inst, "127.0.0.1", 0);
    peers_heard(peers[1], &g.dev[0]->dev, inst, "", 7);
    for (int i = 0; i < 5000; i++) {
        snprintf(text, sizeof text, "127.1.%d.%d:1", i / 250, 1 + i % 250);
        peers_add(peers[1], text, ADDR_MDNS);
    }
    go_on();
    EQ_U(peers_online(peers[1]), 0);
}

static void hint(size_t who, size_t dev, const char *address)
{
    char addr[1][64];
    snprintf(addr[0], sizeof addr[0], "%.63s", address ? address : "");
    peers_hint(peers[who], &g.dev[dev]->dev, address ? 1 : 0, addr);
}
static bool greeted(void *arg) { return ((struct side *)arg)->hellos > 0; }

static void test_hint_of_a_card(void)
{
    begin(2);
    hint(1, 0, side[0].address);
    until_sees(1, 1);
    struct peer_info info;
    peers_info(peers[1], &g.dev[0]->dev, &info);
    EQ_U(info.source, ADDR_CARD);
    EQ_S(info.address, side[0].address);
    /* It stays when another card says otherwise: only who is missed is looked for. */
    hint(1, 0, NULL);
    go_on();
    EQ_U(downs[1], 0);
    EQ_U(peers_online(peers[1]), 1);
}

static void test_only_who_is_missed_is_looked_for(void)
{
    begin(3);
    peers_add(peers[1], side[0].address, ADDR_STATIC);
    until_sees(1, 1);
    hint(1, 0, side[2].address);
    go_on();
    go_on();
    EQ_U(side[2].hellos, 0);
    peers_remove(peers[1], side[0].address, ADDR_STATIC);
    link_kill(peers_link(peers[1], &g.dev[0]->dev), "test");
    UNTIL(loop, greeted, &side[2]);
}

static void test_a_card_replaces_the_one_before(void)
{
    begin(3);
    hint(1, 0, side[0].address);
    hint(1, 0, side[2].address);
    until_sees(1, 1);
    go_on();
    EQ_U(side[0].hellos, 0);
    /* What another device's card said once takes nothing away. */
    peers_pause(peers[1], true);
    until_sees(1, 0);
    hint(1, 0, side[0].address);
    hint(1, 2, side[0].address);
    hint(1, 2, NULL);
    peers_pause(peers[1], false);
    UNTIL(loop, greeted, &side[0]);
}

static void test_many_cards_of_one_device(void)
{
    begin(2);
    char addr[LIMIT_ADDRS][64];
    for (int i = 0; i < 1000; i++) {
        for (int k = 0; k < (int)LIMIT_ADDRS; k++)
            snprintf(addr[k], sizeof addr[k], "127.%d.%d.%d:1", 1 + k, i / 250, 1 + i % 250);
        peers_hint(peers[1], &g.dev[2]->dev, LIMIT_ADDRS, addr);
        if (i % 250 == 0)
            go_on();
    }
    peers_add(peers[1], side[0].address, ADDR_STATIC);
    until_sees(1, 1);
}

static bool is_down(void *arg) { (void)arg; return downs[1] == 1; }

/* Who is not wished for is dialled once, to see who is there; then the link ends, and stays away until it is wished for. */
static void test_not_wished_for(void)
{
    begin(2);
    wish = WISH_NONE;
    peers_add(peers[1], side[0].address, ADDR_MDNS);
    until_sees(1, 1);
    peers_review(peers[1]);
    EQ_U(peers_online(peers[1]), 1);
    go_on();
    peers_review(peers[1]);
    UNTIL(loop, is_down, NULL);
    CHECK(peers_reachable(peers[1], &g.dev[0]->dev) && !peers_reachable(peers[1], &g.dev[2]->dev));
    go_on();
    peers_review(peers[1]);
    go_on();
    EQ_U(ups[1], 1);
    wish = WISH_LINK;
    peers_review(peers[1]);
    until_sees(1, 1);
}

/* Whoever the user has named stays. */
static void test_named_by_the_user(void)
{
    begin(2);
    wish = WISH_NONE;
    peers_add(peers[1], side[0].address, ADDR_STATIC);
    until_sees(1, 1);
    go_on();
    peers_review(peers[1]);
    go_on();
    EQ_U(downs[1], 0);
}

/* Whom an address leads to decides whether it is dialled, and how soon. */
static enum peer_wish by_number(void *arg, const struct id *dev)
{
    (void)arg;
    return !dev ? WISH_ROOM : dev->b[0] == 1 ? WISH_LINK : dev->b[0] == 2 ? WISH_ROOM : WISH_NONE;
}

static void test_what_an_address_is_wished_for(void)
{
    struct device known[3] = {{.dev = {{1}}, .heard = "a:1"}, {.dev = {{2}}}, {.dev = {{3}}, .nhint = 1, .hint = {"c:1"}}};
    struct peers p = {.c.ops.wish = by_number, .dev = known, .ndev = 3};
    const struct { struct address a; enum peer_wish wish; } table[] = {
        {{.text = "x:1", .sources = ADDR_MDNS}, WISH_ROOM},
        {{.text = "x:1", .sources = ADDR_HEARD}, WISH_NONE},
        {{.text = "x:1", .sources = ADDR_STATIC}, WISH_LINK},
        {{.text = "a:1", .sources = ADDR_HEARD}, WISH_LINK},
        {{.text = "c:1", .sources = ADDR_CARD}, WISH_NONE},
        {{.text = "x:1", .sources = ADDR_MDNS, .dev = {{3}}}, WISH_NONE},
        {{.text = "x:1", .sources = ADDR_CARD, .dev = {{2}}}, WISH_ROOM},
        {{.text = "x:1", .sources = ADDR_MDNS, .dev = {{3}}, .twin = true}, WISH_LINK},     /* or the warning of it would come and go */
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        EQ_U(peers_wish_at(&p, &table[i].a), table[i].wish);
}

static void test_what_is_reachable(void)
{
    struct device known = {.dev = {{1}}, .heard = "a:1"};
    struct address a = {.text = "a:1"}, *all[] = {&a};
    struct peers p = {.dev = &known, .ndev = 1, .addr = all, .naddr = 1};
    CHECK(peers_reachable(&p, &known.dev) && !peers_reachable(&p, &(struct id){{2}}));
    a.failed = true;
    CHECK(!peers_reachable(&p, &known.dev));
    a.failed = false;
    a.dev.b[0] = 2;                      /* somebody else answered there */
    CHECK(!peers_reachable(&p, &known.dev));
}

/* Each that is only looked at takes memory until it is left again. */
static int listen_and_say_nothing(uint16_t *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, len) == 0 && listen(fd, 64) == 0 && getsockname(fd, (struct sockaddr *)&a, &len) == 0);
    *port = ntohs(a.sin_port);
    return fd;
}

static bool sixteen(void *arg) { return ((struct peers *)arg)->rooms >= 16; }

static void test_few_at_a_time_are_only_looked_at(void)
{
    uint16_t port;
    int fd = listen_and_say_nothing(&port);
    char text[32];
    begin(1);
    wish = WISH_ROOM;
    for (int i = 1; i <= 30; i++) {
        snprintf(text, sizeof text, "127.0.0.%d:%u", i, port);
        peers_add(peers[0], text, ADDR_MDNS);
    }
    UNTIL(loop, sixteen, peers[0]);
    go_on();
    EQ_U(peers[0]->dialling, 16);
    wish = WISH_LINK;
    peers_review(peers[0]);
    go_on();
    EQ_U(peers[0]->dialling, 30);        /* those that are wished for are many at once */
    close(fd);
}

static void test_freed_while_dialling(void)
{
    begin(2);
    peers_add(peers[1], side[0].address, ADDR_STATIC);
    peers_add(peers[0], side[1].address, ADDR_STATIC);
    t_within(loop, 1, never, NULL);
    peers_free(&peers[1]);
    until_sees(0, 1);
}

int main(void)
{
    t_node_init();
    RUN(test_dials_and_is_dialled_back);
    RUN(test_own_address_is_recognised);
    RUN(test_one_link_a_device);
    RUN(test_several_devices);
    RUN(test_members_no_more_are_expelled);
    RUN(test_pause);
    RUN(test_comes_back_after_a_restart);
    RUN(test_new_start_of_a_peer_ends_the_old_link);
    RUN(test_removed_addresses_are_not_dialled);
    RUN(test_hopeless_addresses);
    RUN(test_hint_of_a_card);
    RUN(test_only_who_is_missed_is_looked_for);
    RUN(test_a_card_replaces_the_one_before);
    RUN(test_many_cards_of_one_device);
    RUN(test_not_wished_for);
    RUN(test_named_by_the_user);
    RUN(test_what_an_address_is_wished_for);
    RUN(test_what_is_reachable);
    RUN(test_few_at_a_time_are_only_looked_at);
    RUN(test_freed_while_dialling);
    end();
    return t_done();
}
