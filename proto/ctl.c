#include "proto/ctl.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"

#define HEAD 4u               /* bytes of the length in front of a frame */
#define SOCKET_MAX 108u       /* sizeof sockaddr_un.sun_path */

enum exit_code ctl_exit_code(int err)
{
    if (err >= 0)
        return EXIT_DONE;
    switch (err) {
    case ERR_LOCKED:
        return EXIT_LOCKED;
    case ERR_USAGE:
        return EXIT_USAGE;
    case ERR_TIMEOUT:
        return EXIT_TIMED_OUT;
    case ERR_DENIED:
        return EXIT_DENIED;
    default:
        return EXIT_FAILED;
    }
}

/* Room for the length, filled in by frame_end: a frame's size is known when it is written. */
static size_t frame_begin(struct buf *out)
{
    size_t start = out->len;
    buf_room(out, HEAD);
    return start;
}

static int frame_end(struct buf *out, size_t start, size_t max)
{
    if (!buf_ok(out) || out->len - start - HEAD > max) {
        if (buf_ok(out))
            out->len = start;
        return err_set(ERR_FULL, "control socket: the message does not fit %zu bytes", max);
    }
    size_t n = out->len - start - HEAD;
    for (size_t i = 0; i < HEAD; i++)
        out->data[start + i] = (uint8_t)(n >> (8 * i));
    return 0;
}

int ctl_request_put(struct buf *out, const char *command, const void *args, size_t len)
{
    assert(strlen(command) <= CTL_KEY_MAX);
    size_t start = frame_begin(out);
    mp_put_array(out, 3);
    mp_put_u64(out, CTL_PROTOCOL);
    mp_put_str(out, command);
    if (args)
        buf_add(out, args, len);
    else
        mp_put_map(out, 0);
    return frame_end(out, start, LIMIT_CTL_REQUEST);
}

int ctl_reply_put(struct buf *out, enum exit_code code, const char *text, bool more, const void *value, size_t len)
{
    size_t start = frame_begin(out);
    mp_put_array(out, 5);
    mp_put_u64(out, CTL_PROTOCOL);
    mp_put_u64(out, (uint64_t)code);
    mp_put_strn(out, text, strnlen(text, LIMIT_TEXT));
    mp_put_bool(out, more);
    if (value)
        buf_add(out, value, len);
    else
        mp_put_nil(out);
    return frame_end(out, start, LIMIT_CTL_REPLY);
}

int64_t ctl_frame(const void *data, size_t len, size_t max)
{
    const uint8_t *p = data;
    if (len < HEAD)
        return 0;
    size_t n = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
    if (n == 0 || n > max)
        return err_set(ERR_BAD, "control socket: a message of %zu bytes is not allowed", n);
    return len - HEAD < n ? 0 : (int64_t)(HEAD + n);
}

/* Opens the one object of a whole frame and reads its protocol number. */
static int frame_open(struct mp *m, const void *frame, size_t len, size_t max, uint32_t fields)
{
    int64_t n = ctl_frame(frame, len, max);
    if (n < 0)
        return (int)n;
    if (n == 0 || (size_t)n != len)
        return err_set(ERR_BAD, "control socket: not exactly one message");
    const uint8_t *body = (const uint8_t *)frame + HEAD;
    int rc = mp_check(body, len - HEAD);
    if (rc < 0)
        return err_prefix(rc, "control socket");
    *m = mp_reader(body, len - HEAD);
    mp_array_of(m, fields);
    uint64_t protocol = mp_u64(m, UINT32_MAX);
    if (!m->failed && protocol != CTL_PROTOCOL)
        return err_set(ERR_BAD, "control socket: the other side speaks protocol %u, not %u: restart the node after an update",
                       (unsigned)protocol, CTL_PROTOCOL);
    return 0;
}

static bool bytes_same(struct bytes a, struct bytes b)
{
    return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

/* A map of at most CTL_ARGS_MAX pairs, whose keys are short strings and all different. */
static bool args_ok(struct bytes raw)
{
    struct bytes seen[CTL_ARGS_MAX];
    struct mp m = mp_reader(raw.p, raw.len);
    uint32_t n = mp_map(&m, CTL_ARGS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        seen[i] = mp_str(&m, CTL_KEY_MAX);
        mp_skip(&m);
        for (uint32_t k = 0; k < i; k++)
            if (bytes_same(seen[k], seen[i]))
                return false;
    }
    return !m.failed && m.p == m.end;
}

int ctl_request_get(const void *frame, size_t len, struct ctl_request *out)
{
    struct mp m;
    *out = (struct ctl_request){ 0 };
    int rc = frame_open(&m, frame, len, LIMIT_CTL_REQUEST, 3);
    if (rc < 0)
        return rc;
    struct ctl_request r;
    r.command = mp_str(&m, CTL_KEY_MAX);
    r.args = mp_skip(&m);
    rc = mp_done(&m, "control socket: request");
    if (rc < 0)
        return rc;
    if (!args_ok(r.args))
        return err_set(ERR_BAD, "control socket: request: malformed arguments");
    *out = r;
    return 0;
}

int ctl_reply_get(const void *frame, size_t len, struct ctl_reply *out)
{
    struct mp m;
    *out = (struct ctl_reply){ 0 };
    int rc = frame_open(&m, frame, len, LIMIT_CTL_REPLY, 5);
    if (rc < 0)
        return rc;
    struct ctl_reply r;
    r.code = (uint32_t)mp_u64(&m, UINT8_MAX); /* what a process can exit with */
    r.text = mp_str(&m, LIMIT_TEXT);
    r.more = mp_bool(&m);
    r.value = mp_skip(&m);
    rc = mp_done(&m, "control socket: reply");
    if (rc < 0)
        return rc;
    *out = r;
    return 0;
}

/* A reader that stands at the value of `key`. */
static bool find(const struct bytes *map, const char *key, struct mp *at)
{
    struct bytes want = { (const uint8_t *)key, strlen(key) };
    struct mp m = mp_reader(map->p, map->len);
    for (uint32_t n = mp_map(&m, UINT32_MAX); n > 0 && !m.failed; n--) {
        struct bytes k = mp_str(&m, SIZE_MAX);
        if (!m.failed && bytes_same(k, want)) {
            *at = m;
            return true;
        }
        mp_skip(&m);
    }
    return false;
}

static bool find_some(const struct bytes *map, const char *key, struct mp *at)
{
    return find(map, key, at) && mp_peek(at) != MP_NIL;
}

bool ctl_arg_u64(const struct bytes *map, const char *key, uint64_t *v, bool *ok)
{
    struct mp at;
    if (!find_some(map, key, &at))
        return false;
    uint64_t got = mp_u64(&at, UINT64_MAX);
    if (at.failed)
        return *ok = false;
    *v = got;
    return true;
}

bool ctl_arg_bool(const struct bytes *map, const char *key, bool *v, bool *ok)
{
    struct mp at;
    if (!find_some(map, key, &at))
        return false;
    bool got = mp_bool(&at);
    if (at.failed)
        return *ok = false;
    *v = got;
    return true;
}

bool ctl_arg_bytes(const struct bytes *map, const char *key, struct bytes *v, bool *ok)
{
    struct mp at;
    if (!find_some(map, key, &at))
        return false;
    struct bytes got = mp_peek(&at) == MP_STR ? mp_str(&at, SIZE_MAX) : mp_bin(&at, SIZE_MAX);
    if (at.failed)
        return *ok = false;
    *v = got;
    return true;
}

bool ctl_arg_raw(const struct bytes *map, const char *key, struct bytes *v)
{
    struct mp at;
    if (!find(map, key, &at))
        return false;
    struct bytes got = mp_skip(&at);
    if (at.failed)
        return false;
    *v = got;
    return true;
}

int ctl_socket_path(const char *home, char out[static 108])
{
    int n = snprintf(out, SOCKET_MAX, "%s/control.sock", home);
    if (n < 0 || (size_t)n >= SOCKET_MAX)
        return err_set(ERR_FULL, "the home directory %s has too long a name for a socket in it: use a shorter --home", home);
    return 0;
}

/* A variable that is set and not empty, or NULL. */
static const char *variable(const char *name)
{
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

static int home_put(char *out, size_t size, const char *base, const char *beneath)
{
    int n = snprintf(out, size, "%s%s", base, beneath);
    if (n < 0 || (size_t)n >= size)
        return err_set(ERR_FULL, "the name of the home directory is too long: use a shorter --home");
    return 0;
}

int ctl_home(const char *given, char *out, size_t size)
{
    const char *v;
    if (given && !*given)
        return err_set(ERR_USAGE, "the home directory has an empty name: give --home a directory");
    if (given || (given = variable("LANYARD_HOME")))
        return home_put(out, size, given, "");
    if ((v = variable("XDG_DATA_HOME")) && *v == '/')
        return home_put(out, size, v, "/lanyard");
    if ((v = variable("HOME")))
        return home_put(out, size, v, "/.local/share/lanyard");
    return err_set(ERR_USAGE, "there is no home directory: give --home DIR or set HOME");
}
