/* Heads of messages: what is accepted comes out the same when it is encoded and decoded again, and keeps what the header file
 * promises about its numbers. */
#include <assert.h>
#include <string.h>

#include "proto/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The promises that the node relies on without looking again. */
static void check(const struct msg *m)
{
    uint64_t total = 0;
    switch (m->type) {
    case MSG_HELLO_OK: assert(m->hello.nown <= MSG_OWN_STREAMS); break;
    case MSG_GET_CS:
        assert(m->get_cs.n >= 1 && m->get_cs.n <= MSG_RANGES);
        for (uint32_t i = 0; i < m->get_cs.n; i++)
            assert(m->get_cs.range[i].from >= 1 && m->get_cs.range[i].from <= m->get_cs.range[i].to);
        break;
    case MSG_GET_TREE: assert(m->get_tree.first + m->get_tree.count <= m->get_tree.nblocks); break;
    case MSG_TREE: assert(m->tree.count >= 1 && (uint64_t)m->tree.count * BLOCK_REF <= LIMIT_BODY); break;
    case MSG_HAVE: assert(m->have.first + m->have.count <= m->have.nblocks && m->have.nblocks <= LIMIT_BLOCKS); break;
    case MSG_HAVE_OK: assert(m->have_ok.count <= LIMIT_BLOCKS - m->have_ok.first); break;
    case MSG_GET_BLK: assert(m->get_blk.n >= 1 && m->get_blk.n <= LIMIT_GET_BLK); break;
    case MSG_BLK:
        for (uint32_t i = 0; i < m->blk.n; i++)
            total += m->blk.item[i].len;
        assert(m->blk.n <= LIMIT_GET_BLK && total <= LIMIT_BODY);
        assert(msg_body_check(m, total) == 0 && msg_body_check(m, total + 1) != 0);
        break;
    default: break;
    }
    assert(msg_has_body(m->type) || (msg_body_check(m, 0) == 0 && msg_body_check(m, 1) != 0));
    assert(strcmp(msg_name(m->type), "unknown") != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct msg m, again;
    if (msg_decode(data, size, &m) != 0)
        return 0;
    check(&m);
    AUTO(buf_release) struct buf x = BUF_INIT(LIMIT_HEAD), y = BUF_INIT(LIMIT_HEAD);
    int code = msg_encode(&x, &m);
    assert(code == 0 && msg_decode(x.data, x.len, &again) == 0 && again.type == m.type && again.req == m.req);
    code = msg_encode(&y, &again);
    assert(code == 0 && x.len == y.len && memcmp(x.data, y.data, x.len) == 0);
    return 0;
}
