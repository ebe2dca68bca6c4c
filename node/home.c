#include "node/home.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "node/config.h"
#include "node/file.h"
#include "node/loop.h"
#include "store/folder.h"
#include "store/publish.h"
#include "store/sys.h"

enum { SECRET_MAX = 4096, SECRET_MODE = 0600, FIRST_EPOCH = 1 };
#define REMEDY "restore it from a backup, or make a new home and join again"

char *home_file(const struct home *h, const char *name) { return file_in(h->path, name); }

/* ---- the lock ---- */

static int lock_home(const char *path, int *fd)
{
    AUTOFREE char *name = file_in(path, "lock");
    *fd = sys->openat2(AT_FDCWD, name, O_RDWR | O_CREAT | O_CLOEXEC, SECRET_MODE, 0);
    if (*fd < 0)
        return err_set(ERR_IO, "%s: %m", name);
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    int r = errno == EWOULDBLOCK ? err_set(ERR_EXISTS, "home %s: in use: a node runs here already", path)
                                 : err_set(ERR_IO, "%s: lock: %m", name);
    (void)sys->close(*fd);
    *fd = -1;
    return r;
}

/* ---- key files ---- */

static int write_secret(const char *path, const struct buf *b, bool replace)
{
    if (!buf_ok(b))
        return err_set(ERR_FULL, "%s: no memory", path);
    return replace ? file_replace(path, b->data, b->len, SECRET_MODE) : file_create(path, b->data, b->len, SECRET_MODE);
}

/* All room at once: a buffer that grows leaves copies of what it held in freed memory. */
static void take_room(struct buf *b)
{
    if (buf_room(b, b->max))
        b->len = 0;
}

static int write_device_keys(const char *path, const struct device_keys *k, const struct bytes *card)
{
    AUTO(file_wipe) struct buf b = BUF_INIT(SECRET_MAX);
    take_room(&b);
    mp_put_array(&b, 5);
    mp_put_u64(&b, 1);
    mp_put_bin(&b, k->sign_sk, sizeof k->sign_sk);
    mp_put_bin(&b, k->tr_pk, sizeof k->tr_pk);
    mp_put_bin(&b, k->tr_sk, sizeof k->tr_sk);
    mp_put_bin(&b, card->p, card->len);
    return write_secret(path, &b, false);
}

static int write_group_keys(const char *path, const struct group_keys *k, bool replace)
{
    AUTO(file_wipe) struct buf b = BUF_INIT(SECRET_MAX);
    take_room(&b);
    mp_put_array(&b, 5);
    mp_put_u64(&b, 1);
    mp_put_bin(&b, k->group.b, ID_LEN);
    mp_put_bin(&b, k->k_group, sizeof k->k_group);
    mp_put_bin(&b, k->k_epoch, sizeof k->k_epoch);
    mp_put_u64(&b, k->epoch);
    return write_secret(path, &b, replace);
}

static int damaged(const char *path)
{
    AUTOFREE char *why = xstrdup(err_text());
    return err_set(ERR_CORRUPT, "%s: damaged (%s): " REMEDY, path, why);
}

/* Reads a secret file, which nobody else may read, and leaves m at its first field behind the format number. */
static int open_secret(const char *path, struct buf *b, struct mp *m)
{
    mode_t mode;
    int r = file_read(path, true, b, &mode);
    if (r < 0)
        return r == ERR_FULL || r == ERR_NOTFOUND ? damaged(path) : r;
    if (mode & 077)
        return err_set(ERR_DENIED, "%s: others may read this secret: chmod 600 it", path);
    if (mp_check(b->data, b->len) < 0)
        return damaged(path);
    *m = mp_reader(b->data, b->len);
    mp_array_of(m, 5);
    if (mp_u64(m, 1) != 1)
        m->failed = true;
    return 0;
}

/* The card and the keys belong together. */
static int check_device(const struct device_keys *k, const struct buf *card)
{
    struct card c;
    uint8_t pk[32];
    int r = card_decode(card->data, card->len, &c);
    if (r < 0)
        return r;
    if (crypto_scalarmult_base(pk, k->tr_sk) != 0 || memcmp(pk, k->tr_pk, sizeof pk) != 0)
        return err_set(ERR_BAD, "the transport keys are no pair");
    if (!id_eq(&c.dev, &k->dev) || memcmp(c.tr_pk, k->tr_pk, sizeof c.tr_pk) != 0)
        return err_set(ERR_BAD, "the card is of another device");
    return 0;
}

static int read_device_keys(const char *path, struct device_keys *k, struct buf *card)
{
    AUTO(file_wipe) struct buf b = BUF_INIT(SECRET_MAX);
    struct mp m;
    int r = open_secret(path, &b, &m);
    if (r < 0)
        return r;
    uint8_t seed[crypto_sign_SEEDBYTES], sk[crypto_sign_SECRETKEYBYTES];
    mp_bin_into(&m, k->sign_sk, sizeof k->sign_sk);
    mp_bin_into(&m, k->tr_pk, sizeof k->tr_pk);
    mp_bin_into(&m, k->tr_sk, sizeof k->tr_sk);
    struct bytes blob = mp_bin(&m, SECRET_MAX);
    r = mp_done(&m, "keys");
    memcpy(seed, k->sign_sk, sizeof seed);                 /* libsodium's layout: seed | public key */
    crypto_sign_seed_keypair(k->dev.b, sk, seed);
    if (r == 0 && sodium_memcmp(sk, k->sign_sk, sizeof sk) != 0)
        r = err_set(ERR_BAD, "the signing keys are no pair");
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(sk, sizeof sk);
    if (r == 0) {
        buf_add(card, blob.p, blob.len);
        r = check_device(k, card);
    }
    return r < 0 ? damaged(path) : 0;
}

static int read_group_keys(const char *path, struct group_keys *k)
{
    AUTO(file_wipe) struct buf b = BUF_INIT(SECRET_MAX);
    struct mp m;
    int r = open_secret(path, &b, &m);
    if (r < 0)
        return r;
    mp_bin_into(&m, k->group.b, ID_LEN);
    mp_bin_into(&m, k->k_group, sizeof k->k_group);
    mp_bin_into(&m, k->k_epoch, sizeof k->k_epoch);
    k->epoch = mp_u64(&m, LIMIT_SEQ);
    return mp_done(&m, "keys") < 0 ? damaged(path) : 0;
}

int home_save_group_keys(const struct home *h)
{
    AUTOFREE char *path = home_file(h, "group.key");
    return write_group_keys(path, h->group_keys, true);
}

/* ---- creating ---- */

/* What makes a home; in the order in which it is written. */
static const char *const PARTS[] = {"control.log", "group.key", "config", "index.db", "device.key"};
enum { NPARTS = sizeof PARTS / sizeof *PARTS };

static bool present(const char *dir, const char *name)
{
    AUTOFREE char *path = file_in(dir, name);
    struct statx st;
    return sys->statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, 0, &st) == 0 || errno != ENOENT;
}

/* Parts without a device.key count too: they are somebody's history, and no remnant of ours, unless the power went. */
int home_vacant(const char *path)
{
    struct statx st;
    if (sys->statx(AT_FDCWD, path, 0, 0, &st) < 0 && errno == ENOENT)
        return 0;
    for (int i = 0; i < NPARTS; i++)
        if (present(path, PARTS[i]))
            return err_set(ERR_EXISTS, "home %s: already holds a device: use another --home, or remove it", path);
    return 0;
}

/* Everything in the folder goes to all members: the keys must not. */
static int check_apart(const char *path, const char *folder)
{
    char home[PATH_MAX], real[PATH_MAX];
    if (*folder != '/')
        return err_set(ERR_USAGE, "folder %s: not an absolute path", folder);
    if (!realpath(path, home))
        return err_set(ERR_IO, "home %s: %m", path);
    if (!realpath(folder, real))
        return errno == ENOENT ? 0 : err_set(ERR_IO, "folder %s: %m", folder);
    size_t len = strcmp(real, "/") == 0 ? 0 : strlen(real);
    if (strncmp(home, real, len) == 0 && (home[len] == '/' || home[len] == '\0'))
        return err_set(ERR_USAGE, "folder %s: contains the home %s, whose keys must stay here: use another folder, or --home",
                       folder, path);
    return 0;
}

/* A new group with this device as its owner. */
static int found_group(const struct device_keys *keys, const struct bytes *card, struct buf *genesis, struct group_keys *k)
{
    struct genesis g;
    int r = genesis_encode(genesis, card, loop_wall(), keys);
    if (r == 0)
        r = genesis_decode(genesis->data, genesis->len, &g);
    if (r < 0)
        return r;
    k->group = g.group;
    randombytes_buf(k->k_group, sizeof k->k_group);
    randombytes_buf(k->k_epoch, sizeof k->k_epoch);
    k->epoch = FIRST_EPOCH;
    return 0;
}

static int enter_group(const struct membership *m, struct buf *genesis, struct group_keys *k)
{
    struct genesis g;
    int r = genesis_decode(m->genesis.p, m->genesis.len, &g);
    if (r < 0)
        return r;
    buf_add(genesis, m->genesis.p, m->genesis.len);
    k->group = g.group;
    memcpy(k->k_group, m->k_group, sizeof k->k_group);
    memcpy(k->k_epoch, m->k_epoch, sizeof k->k_epoch);
    k->epoch = m->epoch;
    return 0;
}

static int write_records(struct control *c, const struct membership *m)
{
    struct mp records = mp_reader(m->ctl.p, m->ctl.len);
    int r = 0;
    for (uint32_t i = 0; i < m->nctl && r == 0; i++) {
        struct bytes blob = mp_skip(&records);
        r = control_append(c, blob.p, blob.len);
    }
    return r < 0 ? err_prefix(r, "membership") : 0;
}

/* The first record of a group that is founded here. */
static int name_recovery(struct control *c, const struct device_keys *keys, const struct id *recovery)
{
    AUTO(buf_release) struct buf record = BUF_INIT(LIMIT_CTL_BYTES);
    const struct id *group = &control_group(c)->id;
    struct ctl head = {.group = *group, .prev = *group, .n = 1, .signer = keys->dev, .ts_ms = loop_wall()};
    int r = ctl_encode(&record, &head, &(struct ctl_op){.type = OP_RECOVERY, .recovery = *recovery}, 1, keys);
    return r < 0 ? r : control_append(c, record.data, record.len);
}

static int write_control(const char *path, const struct home_parts *p, const struct buf *genesis)
{
    AUTO(control_close) struct control *c = NULL;
    int r = control_create(path, &(struct bytes){genesis->data, genesis->len});
    if (r == 0)
        r = control_open(path, &c);
    if (r == 0 && p->group)
        r = write_records(c, p->group);
    else if (r == 0 && !id_is_none(&p->recovery))
        r = name_recovery(c, p->keys, &p->recovery);
    if (r < 0)
        return r;
    const struct member *self = group_find(control_group(c), &p->keys->dev);
    if (!self || self->revoked || memcmp(self->card.tr_pk, p->keys->tr_pk, sizeof p->keys->tr_pk) != 0)
        return err_set(ERR_DENIED, "membership: does not make this device a member");
    return 0;
}

static int write_config(const char *path, const char *folder, const struct membership *m)
{
    AUTO(buf_release) struct buf peers = BUF_INIT(LIMIT_ADDRS * 64u + 1);
    struct mp addrs = m ? mp_reader(m->addrs.p, m->addrs.len) : (struct mp){0};
    for (uint32_t i = 0; m && i < m->naddr; i++) {
        struct bytes a = mp_str(&addrs, 63);
        if (addr_check(a.p, a.len) < 0)
            continue;                                      /* of no use to us; what is said of its members is not in it */
        buf_add_str(&peers, peers.len ? " " : "");
        buf_add(&peers, a.p, a.len);
    }
    buf_add(&peers, "", 1);
    if (!buf_ok(&peers))
        return err_set(ERR_FULL, "%s: no memory", path);
    return config_create(path, folder, (char *)peers.data);
}

static int write_parts(char *const path[NPARTS], const struct home_parts *p)
{
    AUTO(buf_release) struct buf genesis = BUF_INIT(LIMIT_CTL_BYTES);
    AUTO(group_keys_free) struct group_keys *gk = group_keys_new();
    int r = p->group ? enter_group(p->group, &genesis, gk) : found_group(p->keys, &p->card, &genesis, gk);
    if (r == 0)
        r = write_control(path[0], p, &genesis);
    if (r == 0)
        r = write_group_keys(path[1], gk, false);
    if (r == 0)
        r = write_config(path[2], p->folder, p->group);
    if (r == 0)
        r = folder_create(p->folder, &gk->group);
    return r < 0 ? r : write_device_keys(path[NPARTS - 1], p->keys, &p->card);
}

static int fill(const char *home, const struct home_parts *p)
{
    char *path[NPARTS];
    for (int i = 0; i < NPARTS; i++)
        path[i] = file_in(home, PARTS[i]);
    int r = write_parts(path, p);
    for (int i = 0; i < NPARTS; i++) {
        if (r < 0)
            (void)sys->unlinkat(AT_FDCWD, path[i], 0);
        free(path[i]);
    }
    return r;
}

int home_create(const char *path, const struct home_parts *parts)
{
    int lock = -1, r = publish_dirs(path, 0700);
    if (r < 0)
        return err_prefix(r, "home %s", path);
    r = lock_home(path, &lock);
    if (r < 0)
        return r;
    r = home_vacant(path);
    bool fresh = r == 0;
    if (r == 0)
        r = check_apart(path, parts->folder);
    if (r == 0)
        r = fill(path, parts);
    if (r < 0 && fresh) {                                  /* the directory goes if it is empty */
        AUTOFREE char *name = file_in(path, "lock");
        (void)sys->unlinkat(AT_FDCWD, name, 0);
        (void)sys->unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
    }
    (void)sys->close(lock);
    return r;
}

/* ---- opening ---- */

static int load(struct home *h)
{
    AUTOFREE char *device = home_file(h, "device.key"), *group = home_file(h, "group.key");
    AUTOFREE char *log = home_file(h, "control.log");
    int r = read_device_keys(device, h->keys, &h->card);
    if (r == 0)
        r = read_group_keys(group, h->group_keys);
    if (r == 0)
        r = control_open(log, &h->control);
    if (r < 0)
        return r == ERR_NOTFOUND ? damaged(log) : r;
    const struct group *g = control_group(h->control);
    if (!id_eq(&g->id, &h->group_keys->group))
        return err_set(ERR_CORRUPT, "%s: of another group than the keys: " REMEDY, log);
    return 0;
}

int home_open(const char *path, struct home **out)
{
    *out = NULL;
    if (!present(path, "device.key"))
        return err_set(ERR_NOTFOUND, "home %s: no device here: run lanyard init or lanyard join", path);
    int lock, r = lock_home(path, &lock);
    if (r < 0)
        return r;
    struct home *h = xcalloc(1, sizeof *h);
    *h = (struct home){.path = xstrdup(path), .keys = device_keys_empty(), .group_keys = group_keys_new(), .lock = lock,
                       .card = BUF_INIT(SECRET_MAX), .unclean = present(path, "running")};
    r = load(h);
    if (r == 0)
        *out = h;
    else
        home_close(&h, false);
    return r;
}

int home_mark_running(struct home *h)
{
    AUTOFREE char *name = home_file(h, "running");
    return file_replace(name, "", 0, SECRET_MODE);
}

void home_close(struct home **ph, bool clean)
{
    struct home *h = *ph;
    if (!h)
        return;
    *ph = NULL;
    AUTOFREE char *name = home_file(h, "running");
    if (clean)
        (void)sys->unlinkat(AT_FDCWD, name, 0);
    control_close(&h->control);
    device_keys_free(&h->keys);
    group_keys_free(&h->group_keys);
    buf_release(&h->card);
    (void)sys->close(h->lock);
    free(h->path);
    free(h);
}

/* ---- names ---- */

void home_default_name(char out[static LIMIT_DEVICE_NAME + 1])
{
    char host[HOST_NAME_MAX + 1] = "";
    if (gethostname(host, sizeof host - 1) < 0)
        *host = '\0';
    host[strcspn(host, ".")] = '\0';
    snprintf(out, LIMIT_DEVICE_NAME + 1, "%s", device_name_check(host) == 0 ? host : "device");
}
