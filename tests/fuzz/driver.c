/* driver: replays a fuzz target's corpus without a fuzzing engine, so that every build and every sanitizer runs over it.
 * Arguments are files, and directories which are walked in order of name. Output is TAP, one line an argument. An input that the
 * target cannot take ends the program by a signal, after the input's name on a line that begins with '#'. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    if (!f || fstat(fileno(f), &st) != 0) {
        printf("# %s: %s\n", path, strerror(errno));
        if (f)
            fclose(f);
        return -1;
    }
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size ? size : 1);   /* exactly its size, so that a sanitizer sees the first byte behind it */
    size_t got = data ? fread(data, 1, size, f) : 0;
    fclose(f);
    if (got == size) {
        printf("# %s\n", path);
        fflush(stdout);
        LLVMFuzzerTestOneInput(data, size);
    }
    free(data);
    return got == size ? 1 : -1;
}

static int replay(const char *path);

/* The number of inputs replayed, -1 when one could not be read. */
static int replay_dir(const char *path)
{
    struct dirent **entry;
    int total = 0, n = scandir(path, &entry, NULL, alphasort);
    if (n < 0)
        return -1;
    for (int i = 0; i < n; i++) {
        char *child;
        if (entry[i]->d_name[0] != '.' && total >= 0 && asprintf(&child, "%s/%s", path, entry[i]->d_name) >= 0) {
            int got = replay(child);
            total = got < 0 ? -1 : total + got;
            free(child);
        }
        free(entry[i]);
    }
    free(entry);
    return total;
}

static int replay(const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return replay_dir(path);
    return replay_file(path);
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
    int failed = 0;
    for (int i = 1; i < argc; i++) {
        int n = replay(argv[i]);
        failed += n <= 0;
        printf("%sok %d - %s: %d inputs replayed\n", n > 0 ? "" : "not ", i, name, n > 0 ? n : 0);
    }
    printf("1..%d\n", argc - 1);
    return failed ? 1 : 0;
}
