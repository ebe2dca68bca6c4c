#include "cli/family.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"

struct all { struct relative *v; size_t n, cap; };

#define ENDED 'Z'

/* Returns its state. Its name may hold anything, but no line of /proc/PID/stat has a ')' behind it. */
static char read_one(const char *pid, struct relative *r)
{
    char path[64], line[1024], state = ENDED;
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return ENDED;
    size_t n = fread(line, 1, sizeof line - 1, f);
    fclose(f);
    line[n] = '\0';
    const char *rest = strrchr(line, ')');
    r->pid = atoi(pid);
    bool read = rest && sscanf(rest + 1, " %c %d %d", &state, &r->parent, &r->group) == 3;
    return !read || state == 'X' ? ENDED : state;
}

static void read_all(struct all *a)
{
    DIR *d = opendir("/proc");
    struct dirent *e;
    while (d && (e = readdir(d))) {
        struct relative r;
        if (e->d_name[0] < '1' || e->d_name[0] > '9' || read_one(e->d_name, &r) == ENDED)
            continue;
        if (a->n == a->cap) {
            a->cap = a->cap ? 2 * a->cap : 256;
            a->v = xrealloc(a->v, a->cap, sizeof *a->v);
        }
        a->v[a->n++] = r;
    }
    if (d)
        closedir(d);
}

/* Takes the children of `parent` out of those that are left. */
static void take_children(struct family *f, struct all *left, pid_t parent, pid_t without)
{
    size_t kept = 0;
    for (size_t i = 0; i < left->n; i++) {
        if (left->v[i].parent != parent || left->v[i].pid == without)
            left->v[kept++] = left->v[i];
        else
            f->v[f->n++] = left->v[i];
    }
    left->n = kept;
}

struct family family_of(pid_t root, pid_t without)
{
    struct all all = { 0 };
    read_all(&all);
    struct family f = { .v = xcalloc(all.n + 1, sizeof *f.v) };
    take_children(&f, &all, root, without);
    for (size_t i = 0; i < f.n; i++)
        take_children(&f, &all, f.v[i].pid, without);
    free(all.v);
    return f;
}

void family_release(struct family *f)
{
    free(f->v);
    *f = (struct family){ 0 };
}

bool family_rests(pid_t pid)
{
    char name[24];
    struct relative r;
    snprintf(name, sizeof name, "%d", pid);
    char state = read_one(name, &r);
    return state == 'T' || state == 't' || state == ENDED;
}
