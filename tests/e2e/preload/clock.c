/* A clock that is wrong, for LD_PRELOAD: the time of day is off by the seconds that the file named by LANYARD_TEST_CLOCK holds, which may
 * change at any time. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <sys/syscall.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *t)
{
    int r = (int)syscall(SYS_clock_gettime, id, t);
    const char *path = id == CLOCK_REALTIME ? getenv("LANYARD_TEST_CLOCK") : NULL;
    FILE *f = path ? fopen(path, "re") : NULL;
    long long off = 0;
    if (f) {
        if (fscanf(f, "%lld", &off) == 1)
            t->tv_sec += off;
        fclose(f);
    }
    return r;
}
