/* What an inviter sends under the agreed key: a hostile one must not do more than be refused. What is accepted must come out the
 * same when it is encoded and decoded again. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"
#include "proto/pake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const struct bytes *a, const struct bytes *b)
{
    assert(a->len == b->len && (a->len == 0 || memcmp(a->p, b->p, a->len) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct membership m, again;
    if (size > LIMIT_BODY || membership_decode(data, size, &m) != 0)
        return 0;
    struct mp ctl = mp_reader(m.ctl.p, m.ctl.len), addrs = mp_reader(m.addrs.p, m.addrs.len);
    for (uint32_t i = 0; i < m.nctl; i++)
        mp_skip(&ctl);
    for (uint32_t i = 0; i < m.naddr; i++)
        mp_str(&addrs, 63);
    assert(mp_done(&ctl, "ctl") == 0 && mp_done(&addrs, "addrs") == 0);

    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BODY + 1024u);
    int rc = membership_encode(&b, &m);
    assert(rc == 0);
    rc = membership_decode(b.data, b.len, &again);
    assert(rc == 0 && again.nctl == m.nctl && again.naddr == m.naddr && again.epoch == m.epoch);
    same(&again.genesis, &m.genesis);
    same(&again.ctl, &m.ctl);
    same(&again.addrs, &m.addrs);
    assert(memcmp(again.k_group, m.k_group, 32) == 0 && memcmp(again.k_epoch, m.k_epoch, 32) == 0);
    return 0;
}
