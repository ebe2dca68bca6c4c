/* t_batch: one of everything that folder_apply does to files of the user's, for the tests of what faults do to it. */
#ifndef TESTS_UNIT_T_BATCH_H
#define TESTS_UNIT_T_BATCH_H

#include "tests/unit/folder_fixture.h"

enum { NEW, REPLACE, LINK, REMOVE, MOVE, MOVE_OVER, DIR, DIR_OVER, NCHANGES };

/* The batch as it is to be done with what is there now: what has been done before is left out. */
static inline size_t make_batch(struct change *c, int try)
{
    static char kept_name[NCHANGES][20];
    size_t n = 0;
    for (int i = 0; i < NCHANGES; i++)
        snprintf(kept_name[i], sizeof kept_name[i], "k-%d-%d", i, try);
    temp("t-new", "new a");
    temp("t-b", "new b");
    if (strcmp(get("d/new"), "new a") != 0)
        c[n++] = change(CHANGE_FILE, "d/new", "t-new", NULL);
    if (strcmp(get("b"), "new b") != 0)
        c[n++] = change(CHANGE_FILE, "b", "t-b", kept_name[REPLACE]);
    if (strcmp(get("c"), "<target>") != 0)
        c[n++] = change_link("c", "target", kept_name[LINK]);
    if (*get("r"))
        c[n++] = change(CHANGE_REMOVE, "r", NULL, kept_name[REMOVE]);
    if (*get("m"))
        c[n++] = change_move("m", "d/m", NULL);
    if (*get("e"))
        c[n++] = change_move("e", "f", kept_name[MOVE_OVER]);
    if (strcmp(get("x"), "/") != 0)
        c[n++] = change(CHANGE_DIR, "x", NULL, NULL);
    if (strcmp(get("g"), "/") != 0)
        c[n++] = change(CHANGE_DIR, "g", NULL, kept_name[DIR_OVER]);
    return n;
}

static const char *const theirs[] = { "old b", "old c", "old r", "old m", "old e", "old f", "old g" };
static const char *const places[] = { "b", "c", "r", "m", "d/m", "e", "f", "g" };
enum { THEIRS = sizeof theirs / sizeof *theirs, PLACES = sizeof places / sizeof *places };

struct listed { const char *text; bool found; };
static inline int has_text(void *arg, const char *name)
{
    struct listed *l = arg;
    l->found = strcmp(kept(name), l->text) == 0;
    return l->found;
}
static inline bool somewhere(const char *text)
{
    for (int i = 0; i < PLACES; i++)
        if (strcmp(get(places[i]), text) == 0)
            return true;
    struct listed l = { .text = text };
    CHECK(folder_kept_list(folder, has_text, &l) >= 0);
    return l.found;
}
static inline void put_theirs(void)
{
    static const char *const at[THEIRS] = { "b", "c", "r", "m", "e", "f", "g" };
    for (int i = 0; i < THEIRS; i++)
        put(at[i], theirs[i]);
}

#endif
