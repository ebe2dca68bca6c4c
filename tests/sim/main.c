/* sim [--seeds N] [--first N] [--seed N] [--jobs N] [--mutant NAME | --mutants] [--trace]: runs schedules; TAP on standard output.
 * With --mutants: every mutant must be found within that many. */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/sim.h"

enum { JOBS_MAX = 64 };
struct options { uint64_t first, seeds; unsigned jobs; bool trace, mutants; };

/* Keys are part of a schedule: winners depend on them. So libsodium's randomness is a function of a constant here. */
static uint64_t key_seed = 1;
static const char *fixed_name(void) { return "fixed"; }
static uint32_t fixed_random(void) { return (uint32_t)sim_rand(&key_seed); }
static void fixed_buf(void *const p, const size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)p)[i] = (uint8_t)sim_rand(&key_seed);
}
static randombytes_implementation fixed = {.implementation_name = fixed_name, .random = fixed_random, .buf = fixed_buf};

static void usage(void)
{
    fprintf(stderr, "sim [--seeds N] [--first N] [--seed N] [--jobs N] [--mutant NAME | --mutants] [--trace]\n");
    exit(2);
}

static enum mutant mutant_by_name(const char *name)
{
    for (int m = 0; m < MUTANT_COUNT; m++)
        if (strcmp(name, mutant_name[m]) == 0)
            return (enum mutant)m;
    usage();
    return MUTANT_NONE;
}

static struct options read_options(int argc, char **argv)
{
    static const struct option table[] = {{"seeds", 1, 0, 'n'}, {"first", 1, 0, 'f'}, {"seed", 1, 0, 's'}, {"jobs", 1, 0, 'j'},
                                          {"mutant", 1, 0, 'm'}, {"mutants", 0, 0, 'M'}, {"trace", 0, 0, 't'}, {0}};
    struct options o = {.first = 1, .seeds = 10000, .jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN)};
    int c;
    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        uint64_t n = optarg ? strtoull(optarg, NULL, 10) : 0;
        switch (c) {
        case 'n': o.seeds = n; break;
        case 'f': o.first = n; break;
        case 's': o.first = n; o.seeds = o.jobs = 1; break;
        case 'j': o.jobs = n ? (unsigned)n : 1; break;
        case 'm': mutant = mutant_by_name(optarg); break;
        case 'M': o.mutants = true; break;
        case 't': o.trace = true; break;
        default: usage();
        }
    }
    if (o.jobs > JOBS_MAX)
        o.jobs = JOBS_MAX;
    return o;
}

static void run(const struct options *o, unsigned job)
{
    struct world *w = xcalloc(1, sizeof *w);
    w->trace = o->trace;
    world_init(w);
    for (uint64_t i = job; i < o->seeds; i += o->jobs)
        world_run(w, o->first + i);
    world_release(w);
    free(w);
}

static pid_t start(const struct options *o, unsigned job)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        run(o, job);
        exit(0);
    }
    return pid;
}

/* Whether a schedule has failed; then the others are not waited for. */
static bool run_all(const struct options *o)
{
    pid_t pid[JOBS_MAX];
    bool failed = false;
    for (unsigned j = 0; j < o->jobs; j++)
        pid[j] = start(o, j);
    for (unsigned j = 0; j < o->jobs; j++) {
        int status = 1;
        pid_t ended = pid[j] < 0 ? -1 : wait(&status);
        failed |= status != 0;
        for (unsigned k = 0; k < o->jobs; k++) {
            if (pid[k] == ended)
                pid[k] = 0;
            else if (failed && pid[k] > 0)
                kill(pid[k], SIGTERM);
        }
    }
    return failed;
}

static int report(unsigned n, bool good, const char *what, const struct options *o)
{
    printf("%sok %u - %s, %" PRIu64 " schedules from seed %" PRIu64 "\n", good ? "" : "not ", n, what, o->seeds, o->first);
    return good ? 0 : 1;
}

static int run_mutants(const struct options *o)
{
    int failed = 0;
    for (int m = MUTANT_NONE + 1; m < MUTANT_COUNT; m++) {
        mutant = (enum mutant)m;
        failed += report((unsigned)m, run_all(o), mutant_name[m], o);
    }
    printf("1..%d\n", MUTANT_COUNT - 1);
    return failed ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct options o = read_options(argc, argv);
    randombytes_set_implementation(&fixed);
    if (keys_init() < 0)
        return 1;
    if (o.mutants)
        return run_mutants(&o);
    int r = report(1, !run_all(&o), "all devices agree and nothing is lost", &o);
    printf("1..1\n");
    return r;
}
