/* Files of receipts, which come from anywhere. The first byte: 0, the rest is a file; 1, it is msgpack [genesis, [control record...], id,
 * [vector...]] of records without signatures, which are signed here with a fixed key, for a fuzzer cannot guess one, and made a file. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/receipt.h"
#include "tests/fuzz/alice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_file(const uint8_t *p, size_t n)
{
    struct receipts r;
    if (receipts_read(p, n, &r) != 0)
        return;
    assert(r.what && group_requirement(&r.group, r.what->what->id) == r.what && r.n <= r.group.nmember);
    for (size_t i = 0; i < r.n; i++) {
        assert(receipts_find(&r, &r.of[i].dev) == &r.of[i]);
        assert(group_find(&r.group, &r.of[i].dev) && required_is_for(r.what->what, &r.of[i].dev));
    }
    receipts_release(&r);
}

static size_t sign_list(struct mp *m, const char *context, struct buf *out)
{
    size_t n = mp_array(m, 64);
    for (size_t i = 0; i < n && !m->failed; i++) {
        struct bytes rec = mp_bin(m, LIMIT_CTL_BYTES);
        signed_put(out, context, rec.p, rec.len, alice());
    }
    return n;
}

static void try_parts(const uint8_t *p, size_t n)
{
    AUTO(buf_release) struct buf gen = BUF_INIT(LIMIT_BODY), log = BUF_INIT(LIMIT_BODY), vec = BUF_INIT(LIMIT_BODY), file = BUF_INIT(LIMIT_BODY);
    struct receipts_parts parts = { 0 };
    if (mp_check(p, n) != 0)
        return;
    struct mp m = mp_reader(p, n);
    mp_array_of(&m, 4);
    struct bytes rec = mp_bin(&m, LIMIT_CTL_BYTES);
    signed_put(&gen, "lanyard-gen-1", rec.p, rec.len, alice());
    parts.nrecord = sign_list(&m, "lanyard-ctl-1", &log);
    mp_bin_into(&m, parts.id, sizeof parts.id);
    parts.nvec = sign_list(&m, "lanyard-vec-1", &vec);
    parts.genesis = (struct bytes){ gen.data, gen.len };
    parts.record = (struct bytes){ log.data, log.len };
    parts.vec = (struct bytes){ vec.data, vec.len };
    if (mp_done(&m, "parts") == 0 && receipts_write(&file, &parts) == 0)
        try_file(file.data, file.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > LIMIT_BODY / 4)
        return 0;
    (void)alice();
    if (data[0] == 0)
        try_file(data + 1, size - 1);
    else if (data[0] == 1)
        try_parts(data + 1, size - 1);
    return 0;
}
