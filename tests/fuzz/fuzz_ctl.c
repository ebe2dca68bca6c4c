/* The control socket's decoders. Whatever is accepted must encode to an equal frame, and its arguments must lie inside it. */
#include <assert.h>
#include <string.h>

#include "proto/ctl.h"
#include "proto/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_arguments(const struct bytes *map, const uint8_t *data, size_t size)
{
    static const char *const keys[] = { "path", "peers", "wait", "x" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        uint64_t n;
        bool flag, ok = true;
        struct bytes v;
        (void)ctl_arg_u64(map, keys[i], &n, &ok);
        (void)ctl_arg_bool(map, keys[i], &flag, &ok);
        if (ctl_arg_bytes(map, keys[i], &v, &ok) || ctl_arg_raw(map, keys[i], &v))
            assert(v.p >= data && v.p + v.len <= data + size);
    }
}

static void request(const uint8_t *data, size_t size)
{
    struct ctl_request a, b;
    if (ctl_request_get(data, size, &a) < 0)
        return;
    read_arguments(&a.args, data, size);
    if (memchr(a.command.p, '\0', a.command.len))
        return;
    char command[CTL_KEY_MAX + 1] = "";
    memcpy(command, a.command.p, a.command.len);
    AUTO(buf_release) struct buf out = BUF_INIT(LIMIT_CTL_REQUEST + 4u);
    if (ctl_request_put(&out, command, a.args.p, a.args.len) < 0)
        return; /* the same in its shortest form, so this only happens when it was at the limit */
    assert(ctl_request_get(out.data, out.len, &b) == 0);
    assert(b.args.len == a.args.len && memcmp(b.args.p, a.args.p, a.args.len) == 0);
}

static void reply(const uint8_t *data, size_t size)
{
    struct ctl_reply a, b;
    if (ctl_reply_get(data, size, &a) < 0)
        return;
    read_arguments(&a.value, data, size);
    AUTO(buf_release) struct buf out = BUF_INIT(LIMIT_CTL_REPLY + 4u);
    if (ctl_reply_put(&out, (enum exit_code)a.code, "", a.more, a.value.p, a.value.len) < 0)
        return;
    assert(ctl_reply_get(out.data, out.len, &b) == 0);
    assert(b.code == a.code && b.more == a.more);
    assert(b.value.len == a.value.len && memcmp(b.value.p, a.value.p, a.value.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t n = ctl_frame(data, size, LIMIT_CTL_REPLY);
    assert(n <= (int64_t)size);
    request(data, size);
    reply(data, size);
    return 0;
}
