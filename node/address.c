#include "node/address.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int address_port(const char *address, int by, char out[static ADDRESS_TEXT])
{
    const char *colon = strrchr(address, ':');
    char *end = NULL;
    bool digits = colon && colon != address && colon[1] >= '0' && colon[1] <= '9';
    long port = digits ? strtol(colon + 1, &end, 10) : 0, moved = port > UINT16_MAX ? 0 : port + by;
    if (port == 0 || *end || moved < 1 || moved > UINT16_MAX)
        return err_set(ERR_USAGE, "address %s: not HOST:PORT with a port that can be used", address);
    int n = snprintf(out, ADDRESS_TEXT, "%.*s:%ld", (int)(colon - address), address, moved);
    return n < ADDRESS_TEXT ? 0 : err_set(ERR_USAGE, "address %s: longer than %d bytes", address, ADDRESS_TEXT - 1);
}

void address_make(const char *host, uint16_t port, char out[static ADDRESS_TEXT])
{
    bool v6 = strchr(host, ':');
    snprintf(out, ADDRESS_TEXT, "%s%.64s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

/* The numeric host of one interface address that is of use to others; false when it is not. */
static bool usable(const struct ifaddrs *i, bool loopback, bool v6, char host[static INET6_ADDRSTRLEN])
{
    if (!i->ifa_addr || !(i->ifa_flags & IFF_UP) || (bool)(i->ifa_flags & IFF_LOOPBACK) != loopback)
        return false;
    if (i->ifa_addr->sa_family == AF_INET) {
        struct sockaddr_in a;
        memcpy(&a, i->ifa_addr, sizeof a);
        return (ntohl(a.sin_addr.s_addr) >> 16) != 0xa9fe && inet_ntop(AF_INET, &a.sin_addr, host, INET6_ADDRSTRLEN);
    }
    if (i->ifa_addr->sa_family != AF_INET6 || !v6)
        return false;
    struct sockaddr_in6 a;
    memcpy(&a, i->ifa_addr, sizeof a);
    return !IN6_IS_ADDR_LINKLOCAL(&a.sin6_addr) && inet_ntop(AF_INET6, &a.sin6_addr, host, INET6_ADDRSTRLEN);
}

static bool is_listed(const char *text, char out[][64], uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(out[i], text) == 0)
            return true;
    return false;
}

/* IPv4 first: what people have in their networks. */
static uint32_t collect(const struct ifaddrs *all, bool loopback, bool v6, uint16_t port, char out[static LIMIT_ADDRS][64])
{
    uint32_t n = 0;
    for (int pass = 0; pass < 2; pass++)
        for (const struct ifaddrs *i = all; i && n < LIMIT_ADDRS; i = i->ifa_next) {
            char host[INET6_ADDRSTRLEN], text[ADDRESS_TEXT];
            if (!usable(i, loopback, v6, host) || (i->ifa_addr->sa_family == AF_INET6) != (pass == 1))
                continue;
            address_make(host, port, text);
            size_t len = strlen(text);
            if (len < sizeof out[0] && !is_listed(text, out, n))
                memcpy(out[n++], text, len + 1);
        }
    return n;
}

uint32_t address_own(const char *listen, char out[static LIMIT_ADDRS][64])
{
    const char *colon = strrchr(listen, ':');
    size_t len = colon ? (size_t)(colon - listen) : 0;
    static const char *const any[] = {"0.0.0.0", "[::]", "*"};
    bool all = false;
    for (size_t i = 0; i < sizeof any / sizeof *any; i++)
        all |= len == strlen(any[i]) && memcmp(any[i], listen, len) == 0;
    if (!all) {
        snprintf(out[0], sizeof out[0], "%s", listen);
        return strlen(listen) < sizeof out[0];
    }
    struct ifaddrs *list;
    if (getifaddrs(&list) < 0)
        return 0;
    bool v6 = listen[0] != '0';
    uint16_t port = (uint16_t)strtoul(colon + 1, NULL, 10);
    uint32_t n = collect(list, false, v6, port, out);
    if (n == 0)
        n = collect(list, true, v6, port, out);
    freeifaddrs(list);
    return n;
}

static enum address_kind kind_of_v4(const struct in_addr *a)
{
    uint32_t ip = ntohl(a->s_addr);
    if (ip >> 24 == 127)
        return ADDRESS_LOOPBACK;
    bool useless = ip >> 24 == 0 || ip >> 24 >= 224 || ip >> 16 == 0xa9fe;
    return useless ? ADDRESS_USELESS : ADDRESS_PLAIN;
}

static enum address_kind kind_of_v6(const struct in6_addr *a)
{
    if (IN6_IS_ADDR_LOOPBACK(a))
        return ADDRESS_LOOPBACK;
    bool useless = IN6_IS_ADDR_UNSPECIFIED(a) || IN6_IS_ADDR_MULTICAST(a) || IN6_IS_ADDR_LINKLOCAL(a) || IN6_IS_ADDR_V4MAPPED(a) ||
                   IN6_IS_ADDR_V4COMPAT(a);
    return useless ? ADDRESS_USELESS : ADDRESS_PLAIN;
}

enum address_kind address_kind(const char *address)
{
    char plain[ADDRESS_TEXT];
    struct in_addr v4;
    struct in6_addr v6;
    if (address_port(address, 0, plain) < 0)
        return ADDRESS_USELESS;
    *strrchr(plain, ':') = '\0';
    if (inet_pton(AF_INET, plain, &v4) == 1)
        return kind_of_v4(&v4);
    size_t len = strlen(plain);
    if (plain[0] != '[' || plain[len - 1] != ']')
        return ADDRESS_USELESS;
    plain[len - 1] = '\0';
    return inet_pton(AF_INET6, plain + 1, &v6) == 1 ? kind_of_v6(&v6) : ADDRESS_USELESS;
}
