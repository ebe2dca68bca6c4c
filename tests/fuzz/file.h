/* file: gives a fuzz target's input to code that reads files: one file, in a directory that is removed when the program ends. */
#ifndef TESTS_FUZZ_FILE_H
#define TESTS_FUZZ_FILE_H

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char file_dir[256], file_path[512];

static void file_remove(void)
{
    unlink(file_path);
    rmdir(file_dir);
}

/* The path of the file `name`, which holds the bytes now. The name is the same in every call. */
static inline const char *file_of(const char *name, const void *data, size_t size)
{
    if (!file_dir[0]) {
        const char *tmp = getenv("TMPDIR");
        snprintf(file_dir, sizeof file_dir, "%s/lanyard-fuzz-XXXXXX", tmp ? tmp : "/tmp");
        char *made = mkdtemp(file_dir);
        assert(made);
        snprintf(file_path, sizeof file_path, "%s/%s", file_dir, name);
        atexit(file_remove);
    }
    FILE *f = fopen(file_path, "wb");
    assert(f);
    size_t put = fwrite(data, 1, size, f);
    int closed = fclose(f);
    assert(put == size && closed == 0);
    return file_path;
}

#endif
