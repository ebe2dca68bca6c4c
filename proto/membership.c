#include "proto/pake.h"

#include <sodium.h>
#include <string.h>

#include "proto/keys.h"
#include "proto/limits.h"

enum { ADDR_TEXT = 64 };                         /* with its NUL, as in an address card */
enum { MEMBERSHIP_HEADS = 96 };                  /* at most 89: arrays 1 + 5 + 5, numbers 1 + 9, keys 2 * (2 + 32) */

int membership_encode(struct buf *out, const struct membership *m)
{
    /* All room at once: a buffer that grows later would leave copies of the keys in freed memory. */
    size_t room = m->genesis.len + m->ctl.len + m->addrs.len + MEMBERSHIP_HEADS;
    if (!buf_room(out, room))
        return err_set(ERR_FULL, "membership: larger than %zu bytes", out->max);
    out->len -= room;

    mp_put_array(out, 7);
    mp_put_u64(out, 1);
    buf_add(out, m->genesis.p, m->genesis.len);
    mp_put_array(out, m->nctl);
    buf_add(out, m->ctl.p, m->ctl.len);
    mp_put_bin(out, m->k_group, sizeof m->k_group);
    mp_put_bin(out, m->k_epoch, sizeof m->k_epoch);
    mp_put_u64(out, m->epoch);
    mp_put_array(out, m->naddr);
    buf_add(out, m->addrs.p, m->addrs.len);
    return 0;
}

/* One signed blob, [bin record, bin signature], as its raw bytes. */
static struct bytes read_blob(struct mp *m)
{
    const uint8_t *start = m->p;
    mp_array_of(m, 2);
    struct bytes record = mp_bin(m, LIMIT_CTL_BYTES), sig = mp_bin(m, SIG_LEN);
    if (record.len == 0 || sig.len != SIG_LEN)
        m->failed = true;
    return m->failed ? (struct bytes){0} : (struct bytes){ start, (size_t)(m->p - start) };
}

/* HOST:PORT: printable ASCII that fits the field of an address card. */
static void read_addr(struct mp *m)
{
    struct bytes a = mp_str(m, ADDR_TEXT - 1);
    if (a.len == 0)
        m->failed = true;
    for (size_t i = 0; i < a.len; i++)
        if (a.p[i] <= 0x20 || a.p[i] >= 0x7f)
            m->failed = true;
}

static void read_fields(struct mp *m, struct membership *out)
{
    mp_array_of(m, 7);
    if (mp_u64(m, 1) != 1)
        m->failed = true;
    out->genesis = read_blob(m);

    out->nctl = mp_array(m, LIMIT_OBJECTS);
    out->ctl.p = m->p;
    for (uint32_t i = 0; i < out->nctl && !m->failed; i++)
        read_blob(m);
    out->ctl.len = (size_t)(m->p - out->ctl.p);

    mp_bin_into(m, out->k_group, sizeof out->k_group);
    mp_bin_into(m, out->k_epoch, sizeof out->k_epoch);
    out->epoch = mp_u64(m, UINT64_MAX);

    out->naddr = mp_array(m, LIMIT_ADDRS);
    out->addrs.p = m->p;
    for (uint32_t i = 0; i < out->naddr && !m->failed; i++)
        read_addr(m);
    out->addrs.len = (size_t)(m->p - out->addrs.p);
}

int membership_decode(const void *data, size_t len, struct membership *out)
{
    memset(out, 0, sizeof *out);
    int rc = mp_check(data, len);
    if (rc < 0)
        return err_prefix(rc, "membership");
    struct mp m = mp_reader(data, len);
    read_fields(&m, out);
    rc = mp_done(&m, "membership");
    if (rc < 0)
        sodium_memzero(out, sizeof *out);        /* half of it may be keys */
    return rc;
}
