/* node/home: made whole or not at all, opened only when whole, by one process, and unreadable to others. */
#include "node/home.h"

#include <errno.h>
#include <sodium.h>

#include "node/config.h"
#include "store/folder.h"
#include "tests/unit/t_record.h"
#include "tests/unit/temp_dir.h"

struct device { struct device_keys *keys; struct buf card; };

static struct device device(uint8_t seed)
{
    struct device d = {.keys = t_device(seed), .card = BUF_INIT(1024)};
    struct card c = {.dev = d.keys->dev, .created_ms = 1, .name = "box"};
    memcpy(c.tr_pk, d.keys->tr_pk, sizeof c.tr_pk);
    OK(card_encode(&d.card, &c, d.keys));
    return d;
}
static void device_release(struct device *d)
{
    device_keys_free(&d->keys);
    buf_release(&d->card);
}
static int create(const char *home, const struct device *d, const char *folder, const struct membership *m)
{
    return home_create(home, &(struct home_parts){.keys = d->keys, .card = {d->card.data, d->card.len}, .folder = folder, .group = m});
}

static void test_found(void)
{
    temp_begin();
    AUTO(device_release) struct device d = device(1);
    OK(home_vacant(in_temp("a/b/home")));
    OK(create(in_temp("a/b/home"), &d, in_temp("folder"), NULL));
    FAILS(home_vacant(in_temp("a/b/home")), ERR_EXISTS, "already holds a device: use another --home, or remove it");
    FAILS(create(in_temp("a/b/home"), &d, in_temp("folder2"), NULL), ERR_EXISTS, "already holds a device");
    CHECK(!temp_has("folder2"));

    struct home *h;
    OK(home_open(in_temp("a/b/home"), &h));
    EQ_MEM(h->keys, d.keys, sizeof *d.keys);
    CHECK(h->card.len == d.card.len && memcmp(h->card.data, d.card.data, d.card.len) == 0);
    CHECK(!h->unclean && h->group_keys->epoch == 1);
    CHECK(!sodium_is_zero(h->group_keys->k_group, 32) && !sodium_is_zero(h->group_keys->k_epoch, 32));
    CHECK(memcmp(h->group_keys->k_group, h->group_keys->k_epoch, 32) != 0);
    const struct group *g = control_group(h->control);
    CHECK(id_eq(&g->id, &h->group_keys->group) && g->nmember == 1 && g->member[0].role == ROLE_OWNER);
    struct folder *f;
    OK(folder_open(in_temp("folder"), &g->id, &f));
    folder_close(&f);
    struct config c;
    OK(config_load(in_temp("a/b/home/config"), &c));
    EQ_S(c.folder, in_temp("folder"));
    config_release(&c);
    home_close(&h, true);
}

/* Whoever has the phrase can have the group back from the first moment on. */
static void test_recovery_key(void)
{
    temp_begin();
    AUTO(device_release) struct device d = device(1);
    struct home_parts p = {.keys = d.keys, .card = {d.card.data, d.card.len}, .folder = in_temp("folder"), .recovery = t_id(5)};
    struct home *h;
    OK(home_create(in_temp("home"), &p));
    OK(home_open(in_temp("home"), &h));
    const struct group *g = control_group(h->control);
    EQ_U(g->ctl_n, 1);
    CHECK(group_by_recovery(g, &p.recovery));
    home_close(&h, true);

    p.recovery = d.keys->dev;                          /* not the key of a device */
    p.folder = in_temp("folder2");
    FAILS(home_create(in_temp("home2"), &p), ERR_BAD, "that of a device");
    CHECK(!temp_has("home2") && !temp_has("folder2"));
}

static void test_one_process(void)
{
    temp_begin();
    AUTO(device_release) struct device d = device(1);
    struct home *h, *second;
    FAILS(home_open(in_temp("home"), &h), ERR_NOTFOUND, "no device here: run lanyard init or lanyard join");
    OK(create(in_temp("home"), &d, in_temp("folder"), NULL));
    OK(home_open(in_temp("home"), &h));
    FAILS(home_open(in_temp("home"), &second), ERR_EXISTS, "a node runs here already");
    CHECK(!second);
    home_close(&h, true);
    CHECK(!h);
    OK(home_open(in_temp("home"), &h));
    home_close(&h, true);
}

static void test_unclean(void)
{
    temp_begin();
    AUTO(device_release) struct device d = device(1);
    struct home *h;
    OK(create(in_temp("home"), &d, in_temp("folder"), NULL));
    for (int clean = 1; clean >= 0; clean--) {
        OK(home_open(in_temp("home"), &h));
        CHECK(!h->unclean);
        OK(home_mark_running(h));
        CHECK(!h->unclean && temp_has("home/running"));
        home_close(&h, clean);
    }
    OK(home_open(in_temp("home"), &h));
    CHECK(h->unclean);
    home_close(&h, true);
    OK(home_open(in_temp("home"), &h));
    CHECK(!h->unclean);
    home_close(&h, true);
}

static void test_secrets_are_secret(void)
{
    static const char *const files[] = {"home/device.key", "home/group.key"};
    temp_begin();
    AUTO(device_release) struct device d = device(1);
    OK(create(in_temp("home"), &d, in_temp("folder"), NULL));
    struct stat st;
    CHECK(stat(in_temp("home"), &st) == 0 && (st.st_mode & 0777) == 0700);
    for (int i = 0; i < 2; i++) {
        struct home *h;
        CHECK(stat(in_temp(files[i]), &st) == 0 && (st.st_mode & 0777) == 0600);
        CHECK(chmod(in_temp(files[i]), 0640) == 0);
        FAILS(home_open(in_temp("home"), &h), ERR_DENIED, "chmod 600");
        CHECK(chmod(in_temp(files[i]), 0600) == 0);
        OK(home_open(in_temp("home"), &h));
        home_close(&h, true);
    }
}

/* Any byte changed, any length cut: refused, and never half believed. What names no key (k_group and the like are just random
 * bytes) cannot be noticed, so group.key is only cut. */
static void test_damage(void)
{
    temp_begin();
    AUTO(device_release) struct device d = device(1);
    OK(create(in_temp("home"), &d, in_temp("folder"), NULL));
    static const char *const files[] = {"home/device.key", "home/group.key"};
    for (int i = 0; i < 2; i++) {
        struct stat st;
        struct home *h;
        CHECK(stat(in_temp(files[i]), &st) == 0);
        char good[4096];
        size_t len = (size_t)st.st_size;
        memcpy(good, temp_read(files[i]), len);
        for (size_t at = 0; at < len; at += i ? 7 : 3) {
            char bad[4096];
            memcpy(bad, good, len);
            bad[at] ^= 0x20;
            temp_write(files[i], bad, i ? at : len);
            FAILS(home_open(in_temp("home"), &h), ERR_CORRUPT, files[i] + 5);
            CHECK(strstr(err_text(), "restore it from a backup"));
        }
        temp_write(files[i], good, len);
        OK(home_open(in_temp("home"), &h));
        home_close(&h, true);
    }
    struct home *h;
    CHECK(rename(in_temp("home/group.key"), in_temp("home/x")) == 0);
    FAILS(home_open(in_temp("home"), &h), ERR_CORRUPT, "group.key");
    CHECK(rename(in_temp("home/x"), in_temp("home/group.key")) == 0 && unlink(in_temp("home/control.log")) == 0);
    FAILS(home_open(in_temp("home"), &h), ERR_CORRUPT, "control.log");
}

static void test_foreign_parts(void)
{
    temp_begin();
    AUTO(device_release) struct device a = device(1), b = device(2);
    OK(create(in_temp("one"), &a, in_temp("f1"), NULL));
    OK(create(in_temp("two"), &b, in_temp("f2"), NULL));
    CHECK(rename(in_temp("one/control.log"), in_temp("two/control.log")) == 0);
    struct home *h;
    FAILS(home_open(in_temp("two"), &h), ERR_CORRUPT, "of another group");
    FAILS(home_vacant(in_temp("one")), ERR_EXISTS, "already holds");   /* half of a home is no place for a new one */
}

static void test_refused_folders(void)
{
    temp_begin();
    AUTO(device_release) struct device a = device(1), b = device(2);
    OK(create(in_temp("one"), &a, in_temp("f1"), NULL));
    FAILS(create(in_temp("two"), &b, in_temp("f1"), NULL), ERR_EXISTS, "belongs to another group");
    FAILS(create(in_temp("two"), &b, "relative", NULL), ERR_USAGE, "not an absolute path");
    FAILS(create(in_temp("two"), &b, temp, NULL), ERR_USAGE, "contains the home");
    FAILS(create(in_temp("two"), &b, "/", NULL), ERR_USAGE, "contains the home");
    FAILS(create(in_temp("two"), &b, in_temp("two"), NULL), ERR_USAGE, "contains the home");
    CHECK(!temp_has("two") && !temp_has(".lanyard"));
    OK(create(in_temp("f1x"), &b, in_temp("f"), NULL));                /* a longer name is no place in the folder */
}

/* ---- entering a group ---- */

static void put_add(struct buf *log, struct group *g, const struct device_keys *owner, const struct device *who)
{
    uint8_t sealed[SEALED_KEYS] = {0};
    struct ctl c = {.group = g->id, .n = g->ctl_n + 1, .prev = g->ctl_hash, .ts_ms = 5, .signer = owner->dev};
    struct ctl_op op = {.type = OP_ADD, .card = {who->card.data, who->card.len}, .role = ROLE_MEMBER, .sealed = {sealed, SEALED_KEYS}};
    size_t before = log->len;
    OK(ctl_encode(log, &c, &op, 1, owner));
    OK(ctl_decode(log->data + before, log->len - before, &c));
    OK(group_apply(g, &c));
}

static void test_enter(void)
{
    temp_begin();
    AUTO(device_release) struct device owner = device(1), second = device(2), third = device(3);
    AUTO(buf_release) struct buf genesis = BUF_INIT(4096), log = BUF_INIT(65536), addrs = BUF_INIT(1000);
    struct group g;
    OK(genesis_encode(&genesis, &(struct bytes){owner.card.data, owner.card.len}, 1, owner.keys));
    OK(group_init(&g, genesis.data, genesis.len));
    put_add(&log, &g, owner.keys, &second);
    mp_put_str(&addrs, "10.0.0.1:7447");
    mp_put_str(&addrs, "no address");
    mp_put_str(&addrs, "[fd00::1]:7447");
    struct membership m = {.genesis = {genesis.data, genesis.len}, .ctl = {log.data, log.len}, .nctl = 1, .epoch = 9,
                           .addrs = {addrs.data, addrs.len}, .naddr = 3};
    memset(m.k_group, 0x11, 32);
    memset(m.k_epoch, 0x22, 32);

    FAILS(create(in_temp("home"), &third, in_temp("f"), &m), ERR_DENIED, "does not make this device a member");
    CHECK(!temp_has("home") && !temp_has("f"));
    m.nctl = 0;
    m.ctl.len = 0;
    FAILS(create(in_temp("home"), &second, in_temp("f"), &m), ERR_DENIED, "does not make this device a member");
    m.nctl = 1;
    m.ctl.len = log.len;
    log.data[log.len - 1] ^= 1;
    EQ_I(create(in_temp("home"), &second, in_temp("f"), &m), ERR_DENIED);
    CHECK(!temp_has("home") && !temp_has("f"));
    log.data[log.len - 1] ^= 1;

    OK(create(in_temp("home"), &second, in_temp("f"), &m));
    struct home *h;
    OK(home_open(in_temp("home"), &h));
    CHECK(id_eq(&h->group_keys->group, &g.id) && h->group_keys->epoch == 9);
    EQ_MEM(h->group_keys->k_group, m.k_group, 32);
    EQ_MEM(h->group_keys->k_epoch, m.k_epoch, 32);
    EQ_U(control_group(h->control)->ctl_n, 1);
    h->group_keys->epoch = 10;
    OK(home_save_group_keys(h));
    home_close(&h, true);
    OK(home_open(in_temp("home"), &h));
    EQ_U(h->group_keys->epoch, 10);
    home_close(&h, true);
    AUTO(buf_release) struct buf peers = BUF_INIT(1000);
    OK(config_get(in_temp("home/config"), "peers", &peers));
    buf_add(&peers, "", 1);
    EQ_S((char *)peers.data, "10.0.0.1:7447 [fd00::1]:7447");
    group_release(&g);
}

/* ---- faults ---- */

static int calls, fail_at;
static int fault(void)
{
    if (++calls != fail_at)
        return 0;
    errno = ENOSPC;
    return 1;
}
static ssize_t bad_pwrite(int fd, const void *p, size_t n, off_t off) { return fault() ? -1 : sys_kernel.pwrite(fd, p, n, off); }
static int bad_fsync(int fd) { return fault() ? -1 : sys_kernel.fsync(fd); }
static int bad_rename(int a, const char *from, int b, const char *to, unsigned flags)
{
    return fault() ? -1 : sys_kernel.renameat2(a, from, b, to, flags);
}
static int bad_mkdir(int dir, const char *path, mode_t mode) { return fault() ? -1 : sys_kernel.mkdirat(dir, path, mode); }

/* The n-th write, flush, rename or mkdir fails, for every n: no home is left, and the next attempt makes one. */
static void test_all_or_nothing(void)
{
    struct sys broken = sys_kernel;
    broken.pwrite = bad_pwrite;
    broken.fsync = bad_fsync;
    broken.renameat2 = bad_rename;
    broken.mkdirat = bad_mkdir;
    AUTO(device_release) struct device d = device(1);
    int r = -1;
    for (fail_at = 1; r < 0; fail_at++) {
        temp_begin();
        calls = 0;
        sys = &broken;
        r = create(in_temp("home"), &d, in_temp("folder"), NULL);
        sys = &sys_kernel;
        if (r == 0)
            break;
        if (calls > fail_at + 40 || fail_at > 200)
            T_FAIL("never succeeds: %s", err_text());
        CHECK(!temp_has("home"));
        struct home *h;
        OK(create(in_temp("home"), &d, in_temp("another"), NULL));
        OK(home_open(in_temp("home"), &h));
        home_close(&h, true);
    }
    CHECK(fail_at > 10);
}

static void test_default_name(void)
{
    char name[LIMIT_DEVICE_NAME + 1];
    home_default_name(name);
    OK(device_name_check(name));
    CHECK(!strchr(name, '.'));
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    RUN(test_found);
    RUN(test_recovery_key);
    RUN(test_one_process);
    RUN(test_unclean);
    RUN(test_secrets_are_secret);
    RUN(test_damage);
    RUN(test_foreign_parts);
    RUN(test_refused_folders);
    RUN(test_enter);
    RUN(test_all_or_nothing);
    RUN(test_default_name);
    temp_end();
    return t_done();
}
