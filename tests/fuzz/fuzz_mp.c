/* The msgpack walk and the reader: whatever the walk accepts, the reader reads to the end, object by object, inside its bounds; and
 * a reader that asks for the wrong things only fails. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "proto/limits.h"
#include "proto/mp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads one object by its type, containers with what is in them. Depth is bounded by mp_check. */
static void read_object(struct mp *m)
{
    uint32_t n = 0;
    int type = mp_peek(m);
    switch (type) {
    case MP_NIL:  assert(mp_nil(m)); break;
    case MP_BOOL: (void)mp_bool(m); break;
    case MP_UINT: (void)mp_u64(m, UINT64_MAX); break;
    case MP_INT:  assert(mp_i64(m) < 0); break;
    case MP_STR:  (void)mp_str(m, SIZE_MAX); break;
    case MP_BIN:  (void)mp_bin(m, SIZE_MAX); break;
    case MP_ARRAY: n = mp_array(m, UINT32_MAX); break;
    case MP_MAP:  n = 2 * mp_map(m, UINT32_MAX); break;
    default: abort();   /* a type that the walk must refuse */
    }
    assert(!m->failed);
    for (uint32_t i = 0; i < n; i++)
        read_object(m);
}

/* Asks for one thing after the other, chosen by the input itself. */
static void read_wrongly(const uint8_t *data, size_t size)
{
    struct mp m = mp_reader(data, size);
    uint8_t out[32];
    for (size_t i = 0; i < size && i < 64; i++) {
        struct bytes b = { data, 0 };
        switch (data[size - 1 - i] % 10) {
        case 0: (void)mp_u64(&m, data[i]); break;
        case 1: (void)mp_i64(&m); break;
        case 2: (void)mp_bool(&m); break;
        case 3: (void)mp_array(&m, data[i]); break;
        case 4: (void)mp_map(&m, data[i]); break;
        case 5: b = mp_bin(&m, data[i]); break;
        case 6: b = mp_str(&m, data[i]); break;
        case 7: mp_bin_into(&m, out, sizeof out); break;
        case 8: b = mp_skip(&m); break;
        default: (void)mp_nil(&m); break;
        }
        assert(m.p >= data && m.p <= data + size && b.p >= data && b.p + b.len <= data + size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    read_wrongly(data, size);
    struct mp m = mp_reader(data, size);
    if (mp_check(data, size) < 0) {
        struct bytes whole = mp_skip(&m);
        assert(m.failed || whole.len < size);
        return 0;
    }
    struct mp skip = m;
    assert(mp_skip(&skip).len == size && mp_done(&skip, "input") == 0);
    read_object(&m);
    assert(mp_done(&m, "input") == 0);
    return 0;
}
