/* temp_dir: one directory for the files of a test, under $TMPDIR or /tmp; temp_begin makes a fresh one and removes the one before
 * (also after a failed test), temp_end removes the last. */
#ifndef TESTS_UNIT_TEMP_DIR_H
#define TESTS_UNIT_TEMP_DIR_H

#include <ftw.h>
#include <unistd.h>

#include "store/sys.h"
#include "tests/unit/t.h"

static char temp[256];

static inline int temp_remove(const char *p, const struct stat *st, int type, struct FTW *w)
{
    (void)st, (void)type, (void)w;
    return remove(p);
}
static inline void temp_end(void)
{
    sys = &sys_kernel;
    if (temp[0])
        (void)nftw(temp, temp_remove, 16, FTW_PHYS | FTW_DEPTH);
    temp[0] = '\0';
}
static inline void temp_begin(void)
{
    temp_end();
    const char *dir = getenv("TMPDIR");
    snprintf(temp, sizeof temp, "%s/lanyard-test-XXXXXX", dir ? dir : "/tmp");
    CHECK(mkdtemp(temp));
}
/* A path in it; up to eight are valid at a time. */
static inline const char *in_temp(const char *name)
{
    static char path[8][512];
    static unsigned at;
    char *p = path[at++ % 8];
    CHECK((size_t)snprintf(p, sizeof path[0], "%s/%s", temp, name) < sizeof path[0]);
    return p;
}
static inline void temp_write(const char *name, const char *text, size_t len)
{
    FILE *f = fopen(in_temp(name), "w");
    CHECK(f);
    CHECK(fwrite(text, 1, len, f) == len && fclose(f) == 0);
}
/* The file's content, in a static buffer. */
static inline const char *temp_read(const char *name)
{
    static char text[65536];
    FILE *f = fopen(in_temp(name), "r");
    CHECK(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return text;
}
static inline int temp_has(const char *name) { return access(in_temp(name), F_OK) == 0; }

#endif
