/* The file of a control log against what is in memory. */
#include "tests/unit/t_control.h"

#include "store/sys.h"

/* Against what is in memory; how many steps it took. */
static int check_file(struct control *c, unsigned *steps)
{
    struct control_check *k;
    bool more = true;
    int rc = control_check_new(c, &k);
    for (*steps = 0; rc == 0 && more; ++*steps)
        rc = control_check_step(k, &more);
    control_check_free(&k);
    return rc;
}

/* A node runs, and its file becomes another one. */
static void test_check(void)
{
    const char *path = t_file("checked");
    struct buf file;
    unsigned steps;
    write_log(&file, RECORDS - 1);
    t_write(path, file.data, file.len);
    struct control *c = reopen(path);
    OK(check_file(c, &steps));
    EQ_U(steps, 1);
    for (size_t i = 0; i < file.len; i += 7) {
        file.data[i] ^= 0x20;
        t_write(path, file.data, file.len);
        file.data[i] ^= 0x20;
        EQ_I(check_file(c, &steps), ERR_CORRUPT);
        CHECK(strstr(err_text(), path));
    }
    for (size_t len = 0; len < file.len; len += 11) {
        t_write(path, file.data, len);
        EQ_I(check_file(c, &steps), ERR_CORRUPT);
    }
    buf_release(&file);
    write_log(&file, RECORDS);           /* one more than the node knows */
    t_write(path, file.data, file.len);
    FAILS(check_file(c, &steps), ERR_CORRUPT, "the node knows 3");
    buf_release(&file);
    control_close(&c);
}

static int no_fsync(int fd) { return fd < 0; }

/* The loop has other work in between, and the log may grow. */
static void test_check_in_steps(void)
{
    const char *path = t_file("steps");
    AUTO(buf_release) struct buf record = BUF_INIT(LIMIT_CTL_BYTES);
    AUTO(group_release) struct group g;
    struct control_check *k;
    struct bytes genesis = of(&blob[0]);
    unsigned steps;
    struct sys quick = sys_kernel;
    OK(group_init(&g, genesis.p, genesis.len));
    OK(control_create(path, &genesis));
    struct control *c = reopen(path);
    quick.fsync = no_fsync, sys = &quick;
    for (unsigned i = 0; i < 260; i++) {
        buf_clear(&record);
        make_record(&record, &g, 1 + i % 9);
        OK(control_append(c, record.data, record.len));
    }
    OK(check_file(c, &steps));
    EQ_U(steps, 3);
    sys = &sys_kernel;
    OK(control_check_new(c, &k));
    buf_clear(&record);
    make_record(&record, &g, 20);
    OK(control_append(c, record.data, record.len));
    bool more = true;
    while (more)
        OK(control_check_step(k, &more));
    control_check_free(&k);
    control_close(&c);
}

int main(void)
{
    if (keys_init() != 0)
        return 1;
    t_dir_make();
    records_make();
    RUN(test_check);
    RUN(test_check_in_steps);
    records_free();
    t_dir_remove();
    return t_done();
}
