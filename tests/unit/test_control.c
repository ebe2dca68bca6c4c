#include "tests/unit/t_control.h"

#include <errno.h>

#include "store/publish.h"
#include "store/sys.h"

static void append_all(struct control *c, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        OK(control_append(c, blob[i].data, blob[i].len));
}

static void refused(const char *path, const char *words)
{
    struct control *c;
    struct buf before = t_read(path);
    FAILS(control_open(path, &c), ERR_CORRUPT, words);
    CHECK(!c && strstr(err_text(), "restore it from a backup") && strstr(err_text(), path));
    struct buf after = t_read(path);
    EQ_U(after.len, before.len);
    EQ_MEM(after.data, before.data, before.len);
    buf_release(&before);
    buf_release(&after);
}

static void test_create_append(void)
{
    const char *path = t_file("log");
    struct bytes genesis = of(&blob[0]);
    struct control *c;
    struct buf expected;
    FAILS(control_open(path, &c), ERR_NOTFOUND, path);
    t_write(t_file("log.new"), "left over", 9);
    OK(control_create(path, &genesis));
    CHECK(!t_exists(t_file("log.new")));
    FAILS(control_create(path, &genesis), ERR_EXISTS, path);
    CHECK(!t_exists(t_file("log.new")));
    c = reopen(path);
    check_log(c, 1);
    append_all(c, 1, RECORDS);
    check_log(c, RECORDS);
    control_close(&c);
    control_close(&c);
    c = reopen(path);
    check_log(c, RECORDS);
    control_close(&c);
    struct buf file = t_read(path);
    write_log(&expected, RECORDS);
    EQ_U(file.len, expected.len);
    EQ_MEM(file.data, expected.data, file.len);
    struct stat st;
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    buf_release(&file);
    buf_release(&expected);
}

static void test_bad_genesis(void)
{
    struct bytes ctl = of(&blob[1]), none = { 0 };
    EQ_I(control_create(t_file("none"), &ctl), ERR_BAD);
    EQ_I(control_create(t_file("none"), &none), ERR_BAD);
    CHECK(!t_exists(t_file("none")));
    CHECK(!t_exists(t_file("none.new")));
}

/* What append refuses changes nothing, and the right record still goes in. */
static void test_append_refuses(void)
{
    const char *path = t_file("strict");
    struct bytes genesis = of(&blob[0]);
    OK(control_create(path, &genesis));
    struct control *c = reopen(path);
    append_all(c, 1, 3);
    EQ_I(control_append(c, stranger.data, stranger.len), ERR_BAD);
    EQ_I(control_append(c, blob[2].data, blob[2].len), ERR_EXISTS);
    EQ_I(control_append(c, blob[4].data, blob[4].len), ERR_AGAIN);
    EQ_I(control_append(c, blob[0].data, blob[0].len), ERR_BAD);
    EQ_I(control_append(c, blob[3].data, blob[3].len - 1), ERR_BAD);
    EQ_I(control_append(c, blob[3].data, 0), ERR_BAD);
    FAILS(control_append(c, blob[3].data, LIMIT_CTL_BYTES + 1), ERR_BAD, "bytes");
    blob[3].data[blob[3].len - 1] ^= 1;   /* the signature */
    EQ_I(control_append(c, blob[3].data, blob[3].len), ERR_DENIED);
    blob[3].data[blob[3].len - 1] ^= 1;
    check_log(c, 3);
    append_all(c, 3, RECORDS);
    control_close(&c);
    c = reopen(path);
    check_log(c, RECORDS);
    control_close(&c);
}

/* Cut at every length: the whole records are there, the torn one is gone from the file, and appending goes on. */
static void test_torn_tail(void)
{
    const char *path = t_file("torn");
    struct buf whole, expected;
    write_log(&whole, RECORDS);
    for (size_t len = 0; len <= whole.len; len++) {
        size_t n = 0, end = 8;
        while (n < RECORDS && end + 4 + blob[n].len <= len)
            end += 4 + blob[n++].len;
        t_write(path, whole.data, len);
        if (n == 0) {
            refused(path, len < 8 ? "not a control log" : "before its first record");
            continue;
        }
        struct control *c = reopen(path);
        check_log(c, n);
        struct buf file = t_read(path);
        EQ_U(file.len, end);
        buf_release(&file);
        if (len != end && len % 16 != 0) {
            control_close(&c);
            continue;
        }
        append_all(c, (unsigned)n, RECORDS);
        control_close(&c);
        file = t_read(path);
        write_log(&expected, RECORDS);
        EQ_U(file.len, expected.len);
        EQ_MEM(file.data, expected.data, file.len);
        buf_release(&file);
        buf_release(&expected);
    }
    buf_release(&whole);
}

/* A body whose length was not written yet: whatever is there is cut off. */
static void test_unfinished(void)
{
    const char *path = t_file("unfinished");
    struct buf file;
    write_log(&file, 3);
    size_t end = file.len;
    buf_add(&file, "\0\0\0\0", 4);
    buf_add(&file, blob[3].data, blob[3].len);
    t_write(path, file.data, file.len);
    struct control *c = reopen(path);
    check_log(c, 3);
    control_close(&c);
    struct buf after = t_read(path);
    EQ_U(after.len, end);
    buf_release(&after);
    buf_release(&file);
}

/* Every byte matters: flipped, the file is refused, or a length reaches beyond the end and the tail looks torn. */
static void test_flipped(void)
{
    const char *path = t_file("flipped");
    struct buf file;
    unsigned opened = 0;
    write_log(&file, RECORDS);
    for (size_t i = 0; i < file.len; i++) {
        struct control *c;
        file.data[i] ^= 0x20;
        t_write(path, file.data, file.len);
        file.data[i] ^= 0x20;
        int rc = control_open(path, &c);
        if (rc == 0) {
            CHECK(control_group(c)->ctl_n < RECORDS - 1);
            opened++;
        } else {
            EQ_I(rc, ERR_CORRUPT);
        }
        control_close(&c);
    }
    CHECK(opened <= 2 * RECORDS);
    buf_release(&file);
}

static void test_wrong_order(void)
{
    static const struct { unsigned order[4]; const char *words; } cases[] = {
        { { 0, 2, 1, 3 }, "record 1" }, { { 0, 1, 1, 2 }, "record 2" }, { { 0, 1, 3, 2 }, "record 2" },
        { { 1, 0, 2, 3 }, "" }, { { 0, 0, 1, 2 }, "record 1" }, { { 0, 1, 2, 9 }, "record 3" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf file = BUF_INIT(1u << 20);
        buf_add(&file, "LNYDCTL1", 8);
        for (unsigned j = 0; j < 4; j++) {
            const struct buf *b = cases[i].order[j] == 9 ? &stranger : &blob[cases[i].order[j]];
            uint8_t len[4] = { (uint8_t)b->len, (uint8_t)(b->len >> 8) };
            buf_add(&file, len, 4);
            buf_add(&file, b->data, b->len);
        }
        t_write(t_file("order"), file.data, file.len);
        refused(t_file("order"), cases[i].words);
        buf_release(&file);
    }
}

static void test_not_a_log(void)
{
    t_write(t_file("foreign"), "LNYDCTL2 and more than that", 27);
    refused(t_file("foreign"), "not a control log");
    t_write(t_file("foreign"), "LNYDCTL1\xff\xff\xff\xff and more", 21);
    refused(t_file("foreign"), "damaged length");
    struct control *c;
    EQ_I(control_open(t_dir, &c), ERR_IO);
}

/* ---- failing system calls ---- */

static int fail_at, fail_errno, call;    /* the fail_at-th call fails */
static bool fail_on;                     /* and all that follow */
static bool now_fails(void)
{
    call++;
    bool fails = call == fail_at || (fail_on && call > fail_at);
    if (fails)
        errno = fail_errno;
    return fails;
}
static ssize_t bad_pwrite(int fd, const void *p, size_t n, off_t off)
{
    if (now_fails())
        return -1;
    return sys_kernel.pwrite(fd, p, n > 7 ? 7 : n, off);   /* and short writes all the way */
}
static int bad_fsync(int fd) { return now_fails() ? -1 : sys_kernel.fsync(fd); }
static int bad_ftruncate(int fd, off_t len) { return now_fails() ? -1 : sys_kernel.ftruncate(fd, len); }
static int bad_rename(int a, const char *from, int b, const char *to, unsigned flags)
{
    return now_fails() ? -1 : sys_kernel.renameat2(a, from, b, to, flags);
}

static void inject(struct sys *table, int at, int error, bool on)
{
    *table = sys_kernel;
    table->pwrite = bad_pwrite;
    table->fsync = bad_fsync;
    table->ftruncate = bad_ftruncate;
    table->renameat2 = bad_rename;
    fail_at = at;
    fail_errno = error;
    fail_on = on;
    call = 0;
    sys = table;
}

/* One failing call: nothing has happened, and the next attempt works. All further calls failing: what is on disk is unknown, so
 * nothing is appended until it was opened again. */
static bool append_fails(int at, int error, bool on)
{
    const char *path = t_file("failing");
    struct sys table;
    struct buf file;
    write_log(&file, 2);
    t_write(path, file.data, file.len);
    buf_release(&file);
    struct control *c = reopen(path);
    inject(&table, at, error, on);
    int rc = control_append(c, blob[2].data, blob[2].len);
    sys = &sys_kernel;
    if (rc != 0) {
        CHECK(rc == ERR_IO || (rc == ERR_FULL && error == ENOSPC));
        CHECK(strstr(err_text(), strerror(error)));
        check_log(c, 2);
        int again = control_append(c, blob[2].data, blob[2].len);
        EQ_I(again, on ? ERR_IO : 0);
    }
    if (!on)
        check_log(c, 3);
    control_close(&c);
    c = reopen(path);
    if (!on || rc == 0)
        check_log(c, 3);
    else if (control_group(c)->ctl_n == 1)
        append_all(c, 2, 3);
    check_log(c, 3);
    control_close(&c);
    return rc != 0;
}

static void test_append_fails(void)
{
    for (int on = 0; on < 2; on++) {
        int n = 1;
        while (append_fails(n, n % 2 ? ENOSPC : EIO, on))
            n++;
        CHECK(n > 20);   /* every short write, and both flushes */
    }
}

static void test_create_fails(void)
{
    struct bytes genesis = of(&blob[0]);
    struct sys table;
    const char *path = t_file("created");
    int n = 0, rc;
    do {
        inject(&table, ++n, EIO, false);
        rc = control_create(path, &genesis);
        sys = &sys_kernel;
        CHECK(!t_exists(t_file("created.new")));
        if (rc != 0)
            EQ_I(rc, ERR_IO);
        if (rc != 0 && t_exists(path)) {    /* only the flush of the folder was missing */
            struct control *c = reopen(path);
            check_log(c, 1);
            control_close(&c);
            CHECK(unlink(path) == 0);
        }
    } while (rc != 0);
    CHECK(n > 10);
}

/* A file system without RENAME_NOREPLACE. */
static int old_rename(int a, const char *from, int b, const char *to, unsigned flags)
{
    if (flags != 0) {
        errno = EINVAL;
        return -1;
    }
    return sys_kernel.renameat2(a, from, b, to, flags);
}

static void test_publish(void)
{
    struct sys table = sys_kernel;
    table.renameat2 = old_rename;
    for (int old = 0; old < 2; old++) {
        if (old)
            sys = &table;
        t_write(t_file("tmp"), "new", 3);
        OK(publish(t_file("tmp"), t_file("name")));
        CHECK(!t_exists(t_file("tmp")));
        t_write(t_file("tmp"), "newer", 5);
        FAILS(publish(t_file("tmp"), t_file("name")), ERR_EXISTS, "name");
        CHECK(!t_exists(t_file("tmp")));
        struct buf b = t_read(t_file("name"));
        EQ_U(b.len, 3);
        buf_release(&b);
        CHECK(unlink(t_file("name")) == 0);
        EQ_I(publish(t_file("no such"), t_file("name")), ERR_IO);
        sys = &sys_kernel;
    }
}

int main(void)
{
    if (keys_init() != 0)
        return 1;
    t_dir_make();
    records_make();
    RUN(test_create_append);
    RUN(test_bad_genesis);
    RUN(test_append_refuses);
    RUN(test_torn_tail);
    RUN(test_unfinished);
    RUN(test_flipped);
    RUN(test_wrong_order);
    RUN(test_not_a_log);
    RUN(test_append_fails);
    RUN(test_create_fails);
    RUN(test_publish);
    records_free();
    t_dir_remove();
    return t_done();
}
