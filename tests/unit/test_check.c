/* store/check: a sound index and a sound file pass, and a damaged one does not. */
#include "store/check.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "proto/limits.h"
#include "store/index.h"
#include "tests/unit/temp_dir.h"

static const struct id group = {{7}};
static const _Atomic bool go_on, stopped = true;

static void flip(const char *path, off_t at)
{
    uint8_t byte;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    EQ_I(pread(fd, &byte, 1, at), 1);
    byte ^= 0x40;
    EQ_I(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void test_index(void)
{
    temp_begin();
    const char *path = in_temp("index.db");
    struct index *ix;
    OK(index_open(path, &group, false, &ix));
    OK(index_begin(ix));
    for (uint64_t i = 0; i < 2000; i++) {
        struct ix_piece p = {.kind = PACK_BLOCK, .id = id_hash(&i, sizeof i), .at = {1, i, 60}};
        OK(index_piece_put(ix, &p));
    }
    OK(index_commit(ix));
    OK(check_index(path));               /* also while it is in use */
    OK(index_checkpoint(ix, true));
    index_close(&ix);
    OK(check_index(path));
    struct stat st;
    OK(stat(path, &st));
    for (off_t page = 8192; page < st.st_size; page += 8192)   /* the heads of its pages */
        flip(path, page);
    EQ_I(check_index(path), ERR_CORRUPT);
    FAILS(check_index(in_temp("none")), ERR_IO, "none");
    static const char text[2000] = "this is no database";
    temp_write("other", text, sizeof text);
    EQ_I(check_index(in_temp("other")), ERR_CORRUPT);
}

/* Every byte counts, and so does the length. */
static void test_content(void)
{
    enum { SIZE = 200000 };
    static uint8_t data[SIZE];
    struct gear gear;
    uint64_t seed = 3, read = 0;
    temp_begin();
    chunk_gear(&gear, group.b);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (uint8_t)t_rand(&seed);
    static const size_t sizes[] = {0, 1, 3000, SIZE};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        temp_write("file", (const char *)data, sizes[i]);
        int fd = open(in_temp("file"), O_RDONLY | O_CLOEXEC);
        struct content_list c;
        OK(content_read(fd, sizes[i], &gear, -1, NULL, &c));
        read = 0;
        OK(check_content(fd, &c, &go_on, &read));
        EQ_U(read, sizes[i]);
        EQ_I(check_content(fd, &c, &stopped, &read), ERR_CLOSED);
        for (int n = 0; sizes[i] && n < 20; n++) {
            off_t at = (off_t)(t_rand(&seed) % sizes[i]);
            flip(in_temp("file"), at);
            EQ_I(check_content(fd, &c, &go_on, &read), ERR_CORRUPT);
            flip(in_temp("file"), at);
            OK(check_content(fd, &c, &go_on, &read));
        }
        OK(truncate(in_temp("file"), (off_t)sizes[i] + 1));
        FAILS(check_content(fd, &c, &go_on, &read), ERR_CORRUPT, "bytes");
        content_list_release(&c);
        close(fd);
    }
}

int main(void)
{
    RUN(test_index);
    RUN(test_content);
    temp_end();
    return t_done();
}
