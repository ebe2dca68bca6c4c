/* Connections that break, for LD_PRELOAD: each of the first LANYARD_TEST_CUTS ones is reset after so many bytes as follow from
 * LANYARD_TEST_SEED: between 1 and 2^20, as often few as many. Where in a message that is nobody knows. Standard error tells of each. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FDS = 4096 };
static struct { pthread_mutex_t lock; long cuts; uint64_t seed; uint64_t left[FDS]; int begun; } all = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* xorshift64 */
static uint64_t next_random(void)
{
    all.seed ^= all.seed << 13;
    all.seed ^= all.seed >> 7;
    return all.seed ^= all.seed << 17;
}

static void begin(void)
{
    const char *cuts = getenv("LANYARD_TEST_CUTS"), *seed = getenv("LANYARD_TEST_SEED");
    all.cuts = cuts ? atol(cuts) : 0;
    all.seed = (seed ? strtoull(seed, NULL, 10) : 1) * 0x9e3779b97f4a7c15u | 1;
    all.begun = 1;
}

static int over_the_network(int fd)
{
    int domain = 0;
    socklen_t len = sizeof domain;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && (domain == AF_INET || domain == AF_INET6);
}

/* How many of the bytes that have come are still read; 0: it breaks now. */
static size_t pass(int fd, size_t n)
{
    size_t may = n;
    pthread_mutex_lock(&all.lock);
    if (!all.begun)
        begin();
    if (all.left[fd] == 0 && all.cuts > 0) {
        uint64_t bits = next_random() % 20;
        all.left[fd] = 2 + (1ull << bits) + next_random() % (1ull << bits);
        all.cuts--;
    }
    if (all.left[fd] == 1)
        may = all.left[fd] = 0;
    else if (all.left[fd]) {
        may = n < all.left[fd] - 1 ? n : all.left[fd] - 1;
        all.left[fd] -= may;
    }
    pthread_mutex_unlock(&all.lock);
    return may;
}

ssize_t recv(int fd, void *p, size_t n, int flags)
{
    if (fd >= 0 && fd < FDS && n > 0 && over_the_network(fd)) {
        n = pass(fd, n);
        if (n == 0) {
            dprintf(STDERR_FILENO, "cut\n");
            shutdown(fd, SHUT_RDWR);
            errno = ECONNRESET;
            return -1;
        }
    }
    return syscall(SYS_recvfrom, fd, p, n, flags, NULL, NULL);
}
