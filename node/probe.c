#include "node/probe.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/loop.h"

/* Waits for a connection under way; its errno, 0 when it stands. */
static int outcome(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t len = sizeof error;
    if (poll(&p, 1, timeout_ms > 0 ? timeout_ms : 0) <= 0)
        return ETIMEDOUT;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ? errno : error;
}

static int try_one(const struct addrinfo *ai, int timeout_ms)
{
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int error = connect(fd, ai->ai_addr, ai->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS)
        error = outcome(fd, timeout_ms);
    close(fd);
    return error;
}

static void name_it(const struct addrinfo *ai, char numeric[static ADDRESS_TEXT])
{
    char host[64], port[8];
    if (getnameinfo(ai->ai_addr, ai->ai_addrlen, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        address_make(host, (uint16_t)strtoul(port, NULL, 10), numeric);
}

static int resolve(const char *address, struct addrinfo **list)
{
    char plain[ADDRESS_TEXT];
    int r = address_port(address, 0, plain);
    if (r < 0)
        return r;
    char *colon = strrchr(plain, ':'), *host = plain;
    *colon = '\0';
    if (*host == '[' && colon[-1] == ']') {
        host++;
        colon[-1] = '\0';
    }
    struct addrinfo hint = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    int e = getaddrinfo(host, colon + 1, &hint, list);
    return e == 0 ? 0 : err_set(ERR_NOTFOUND, "%s: %s: check the address", address, gai_strerror(e));
}

int probe(const char *address, int timeout_ms, char numeric[static ADDRESS_TEXT])
{
    struct addrinfo *list;
    int r = resolve(address, &list);
    if (r < 0)
        return r;
    uint64_t end = loop_now() + (uint64_t)timeout_ms;
    int error = ETIMEDOUT;
    bool refused = false;
    for (const struct addrinfo *ai = list; ai && error != 0; ai = ai->ai_next) {
        int left = (int)((int64_t)end - (int64_t)loop_now());
        error = try_one(ai, ai->ai_next ? left / 2 : left);   /* the first does not use up everybody's time */
        refused |= error == ECONNREFUSED;
        if (error == 0)
            name_it(ai, numeric);
    }
    freeaddrinfo(list);
    if (error == 0)
        return 0;
    errno = refused ? ECONNREFUSED : error;
    return err_set(refused ? ERR_CLOSED : ERR_TIMEOUT, "%s: %m", address);
}
