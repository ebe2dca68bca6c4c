#include "proto/ctl.h"

#include "proto/limits.h"
#include "tests/unit/t.h"

static struct buf new_buf(void)
{
    return (struct buf)BUF_INIT(LIMIT_CTL_REPLY + 1024u);
}

static void args_put(struct buf *b)
{
    mp_put_map(b, 4);
    mp_put_str(b, "path"), mp_put_bin(b, "a/\xff", 3);
    mp_put_str(b, "peers"), mp_put_u64(b, 7);
    mp_put_str(b, "wait"), mp_put_bool(b, true);
    mp_put_str(b, "none"), mp_put_nil(b);
}

static void test_request_round_trip(void)
{
    AUTO(buf_release) struct buf args = new_buf(), out = new_buf();
    struct ctl_request q;
    args_put(&args);
    OK(ctl_request_put(&out, "wait", args.data, args.len));
    EQ_I(ctl_frame(out.data, out.len, LIMIT_CTL_REQUEST), (int64_t)out.len);
    OK(ctl_request_get(out.data, out.len, &q));
    EQ_U(q.command.len, 4);
    EQ_MEM(q.command.p, "wait", 4);
    EQ_U(q.args.len, args.len);
    EQ_MEM(q.args.p, args.data, args.len);
}

/* The bytes themselves, so that both ends cannot be wrong in the same way. */
static void test_request_bytes(void)
{
    AUTO(buf_release) struct buf out = new_buf();
    OK(ctl_request_put(&out, "scan", NULL, 0));
    EQ_U(out.len, 12);
    EQ_MEM(out.data, "\x08\0\0\0\x93\x01\xa4scan\x80", 12);
}

static void test_reply_bytes(void)
{
    AUTO(buf_release) struct buf out = new_buf();
    OK(ctl_reply_put(&out, EXIT_TIMED_OUT, "late", true, NULL, 0));
    EQ_U(out.len, 14);
    EQ_MEM(out.data, "\x0a\0\0\0\x95\x01\x03\xa4late\xc3\xc0", 14);
}

static void test_reply_round_trip(void)
{
    AUTO(buf_release) struct buf value = new_buf(), out = new_buf();
    struct ctl_reply r;
    args_put(&value);
    for (int more = 0; more < 2; more++) {
        buf_clear(&out);
        OK(ctl_reply_put(&out, EXIT_DENIED, "no", more, value.data, value.len));
        OK(ctl_reply_get(out.data, out.len, &r));
        EQ_U(r.code, EXIT_DENIED);
        EQ_U(r.more, more);
        EQ_U(r.text.len, 2);
        EQ_U(r.value.len, value.len);
        EQ_MEM(r.value.p, value.data, value.len);
    }
}

static void test_frames_follow_each_other(void)
{
    AUTO(buf_release) struct buf out = new_buf();
    struct ctl_reply r;
    OK(ctl_reply_put(&out, EXIT_DONE, "", true, NULL, 0));
    size_t first = out.len;
    OK(ctl_reply_put(&out, EXIT_FAILED, "x", false, NULL, 0));
    for (size_t len = 0; len < first; len++)
        EQ_I(ctl_frame(out.data, len, LIMIT_CTL_REPLY), 0);
    EQ_I(ctl_frame(out.data, out.len, LIMIT_CTL_REPLY), (int64_t)first);
    OK(ctl_reply_get(out.data, first, &r));
    CHECK(r.more);
    OK(ctl_reply_get(out.data + first, out.len - first, &r));
    EQ_U(r.code, EXIT_FAILED);
    FAILS(ctl_reply_get(out.data, out.len, &r), ERR_BAD, "not exactly one");
    CHECK(r.value.p == NULL && r.code == 0);
}

static void test_frame_limits(void)
{
    FAILS(ctl_frame("\x05\0\0\0", 4, 4), ERR_BAD, "5 bytes");
    EQ_I(ctl_frame("\x04\0\0\0", 4, 4), 0);
    EQ_I(ctl_frame("\x04\0\0\0abcd-", 9, 4), 8);
    FAILS(ctl_frame("\0\0\0\0", 4, 4), ERR_BAD, "0 bytes");
    FAILS(ctl_frame("\xff\xff\xff\xff", 4, LIMIT_CTL_REPLY), ERR_BAD, "not allowed");
}

static void test_too_large_is_refused(void)
{
    AUTO(buf_release) struct buf args = new_buf(), out = new_buf();
    mp_put_map(&args, 1);
    mp_put_str(&args, "x");
    mp_put_bin(&args, memset(buf_room(&out, LIMIT_CTL_REQUEST), 0, LIMIT_CTL_REQUEST), LIMIT_CTL_REQUEST);
    buf_clear(&out);
    buf_add(&out, "kept", 4);
    FAILS(ctl_request_put(&out, "cat", args.data, args.len), ERR_FULL, "does not fit");
    EQ_U(out.len, 4);
    struct buf tiny = BUF_INIT(8);
    FAILS(ctl_request_put(&tiny, "cat", NULL, 0), ERR_FULL, "does not fit");
    buf_release(&tiny);
}

static void test_long_error_text_is_cut(void)
{
    AUTO(buf_release) struct buf out = new_buf();
    char text[LIMIT_TEXT + 100];
    struct ctl_reply r;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    OK(ctl_reply_put(&out, EXIT_FAILED, text, false, NULL, 0));
    OK(ctl_reply_get(out.data, out.len, &r));
    EQ_U(r.text.len, LIMIT_TEXT);
}

/* A frame around a body written in the test. */
static int get_request(const char *body, size_t len, struct ctl_request *q)
{
    AUTO(buf_release) struct buf b = new_buf();
    uint8_t head[4] = { (uint8_t)len };
    buf_add(&b, head, 4);
    buf_add(&b, body, len);
    return ctl_request_get(b.data, b.len, q);
}
#define GET(body) get_request(body, sizeof body - 1, &q)

static void test_malformed_requests(void)
{
    struct ctl_request q;
    OK(GET("\x93\x01\xa1x\x81\xa1y\x05"));
    FAILS(GET("\x93\x02\xa1x\x80"), ERR_BAD, "protocol 2");
    FAILS(GET("\x92\x01\xa1x"), ERR_BAD, "malformed");
    FAILS(GET("\x94\x01\xa1x\x80\xc0"), ERR_BAD, "malformed");
    FAILS(GET("\x93\x01\xc4\x01x\x80"), ERR_BAD, "malformed");
    FAILS(GET("\x93\x01\xa1x\x90"), ERR_BAD, "arguments");
    FAILS(GET("\x93\x01\xa1x\xc0"), ERR_BAD, "arguments");
    FAILS(GET("\x93\x01\xa1x\x81\x01\x05"), ERR_BAD, "arguments");
    FAILS(GET("\x93\x01\xa1x\x82\xa1y\x05\xa1y\x06"), ERR_BAD, "arguments");
    FAILS(GET("\x93\x01\xa1x\x80\xc0"), ERR_BAD, "behind the end");
    FAILS(GET("\x93\x01\xa1x"), ERR_BAD, "cut off");
    CHECK(q.command.p == NULL && q.args.p == NULL);
}

static void test_too_many_arguments(void)
{
    AUTO(buf_release) struct buf args = new_buf(), out = new_buf();
    struct ctl_request q;
    for (size_t n = CTL_ARGS_MAX; n <= CTL_ARGS_MAX + 1; n++) {
        buf_clear(&args);
        buf_clear(&out);
        mp_put_map(&args, n);
        for (size_t i = 0; i < n; i++) {
            char key[32];
            snprintf(key, sizeof key, "k%zu", i);
            mp_put_str(&args, key);
            mp_put_u64(&args, i);
        }
        OK(ctl_request_put(&out, "x", args.data, args.len));
        EQ_I(ctl_request_get(out.data, out.len, &q), n <= CTL_ARGS_MAX ? 0 : ERR_BAD);
    }
}

static void test_arguments(void)
{
    AUTO(buf_release) struct buf b = new_buf();
    args_put(&b);
    struct bytes map = { b.data, b.len }, v = { NULL, 0 };
    uint64_t n = 99;
    bool flag = false, ok = true;
    CHECK(ctl_arg_u64(&map, "peers", &n, &ok) && ok && n == 7);
    CHECK(ctl_arg_bool(&map, "wait", &flag, &ok) && ok && flag);
    CHECK(ctl_arg_bytes(&map, "path", &v, &ok) && ok && v.len == 3);
    EQ_MEM(v.p, "a/\xff", 3);
    CHECK(!ctl_arg_u64(&map, "none", &n, &ok) && ok);
    CHECK(!ctl_arg_bytes(&map, "absent", &v, &ok) && ok);
    CHECK(!ctl_arg_bytes(&map, "pat", &v, &ok) && ok);
    CHECK(ctl_arg_raw(&map, "none", &v) && v.len == 1 && v.p[0] == 0xc0);
    CHECK(!ctl_arg_raw(&map, "absent", &v));
    CHECK(!ctl_arg_u64(&map, "wait", &n, &ok) && !ok);
    EQ_U(n, 7);
    ok = true;
    CHECK(!ctl_arg_bool(&map, "peers", &flag, &ok) && !ok);
    ok = true;
    CHECK(!ctl_arg_bytes(&map, "peers", &v, &ok) && !ok);
}

static void test_arguments_of_no_map(void)
{
    struct bytes not_map = { (const uint8_t *)"\x91\x01", 2 }, nothing = { NULL, 0 };
    uint64_t n = 3;
    bool ok = true;
    CHECK(!ctl_arg_u64(&not_map, "x", &n, &ok) && ok && n == 3);
    CHECK(!ctl_arg_u64(&nothing, "x", &n, &ok) && ok && n == 3);
}

static void test_random_damage(void)
{
    AUTO(buf_release) struct buf value = new_buf(), out = new_buf();
    uint64_t seed = 1;
    args_put(&value);
    OK(ctl_reply_put(&out, EXIT_FAILED, "text", true, value.data, value.len));
    for (int i = 0; i < 20000; i++) {
        uint8_t copy[256];
        struct ctl_reply r;
        memcpy(copy, out.data, out.len);
        copy[4 + t_rand(&seed) % (out.len - 4)] ^= (uint8_t)(1 + t_rand(&seed) % 255);
        if (ctl_reply_get(copy, out.len, &r) == 0)
            CHECK(r.value.p >= copy && r.value.p + r.value.len == copy + out.len);
        else
            CHECK(r.value.p == NULL && err_text()[0]);
    }
}

static void test_exit_codes(void)
{
    EQ_I(ctl_exit_code(0), EXIT_DONE);
    EQ_I(ctl_exit_code(5), EXIT_DONE);
    EQ_I(ctl_exit_code(ERR_USAGE), EXIT_USAGE);
    EQ_I(ctl_exit_code(ERR_TIMEOUT), EXIT_TIMED_OUT);
    EQ_I(ctl_exit_code(ERR_DENIED), EXIT_DENIED);
    EQ_I(ctl_exit_code(ERR_IO), EXIT_FAILED);
    EQ_I(ctl_exit_code(ERR_CLOSED), EXIT_FAILED);
}

static void test_socket_path(void)
{
    char out[108], home[120];
    OK(ctl_socket_path("/h", out));
    EQ_S(out, "/h/control.sock");
    memset(home, 'x', sizeof home);
    home[107 - strlen("/control.sock")] = '\0';
    OK(ctl_socket_path(home, out));
    EQ_U(strlen(out), 107);
    home[107 - strlen("/control.sock")] = 'x';
    home[108 - strlen("/control.sock")] = '\0';
    FAILS(ctl_socket_path(home, out), ERR_FULL, "shorter --home");
}

static void test_home(void)
{
    char out[64], small[8];
    setenv("LANYARD_HOME", "/l", 1);
    setenv("XDG_DATA_HOME", "/x", 1);
    setenv("HOME", "/u", 1);
    OK(ctl_home("given", out, sizeof out));
    EQ_S(out, "given");
    OK(ctl_home(NULL, out, sizeof out));
    EQ_S(out, "/l");
    setenv("LANYARD_HOME", "", 1);
    OK(ctl_home(NULL, out, sizeof out));
    EQ_S(out, "/x/lanyard");
    FAILS(ctl_home(NULL, small, sizeof small), ERR_FULL, "too long");
    setenv("XDG_DATA_HOME", "relative", 1);
    OK(ctl_home(NULL, out, sizeof out));
    EQ_S(out, "/u/.local/share/lanyard");
    unsetenv("XDG_DATA_HOME");
    OK(ctl_home(NULL, out, sizeof out));
    EQ_S(out, "/u/.local/share/lanyard");
    unsetenv("HOME");
    FAILS(ctl_home(NULL, out, sizeof out), ERR_USAGE, "--home");
    FAILS(ctl_home("", out, sizeof out), ERR_USAGE, "empty");
}

int main(void)
{
    RUN(test_request_round_trip);
    RUN(test_request_bytes);
    RUN(test_reply_bytes);
    RUN(test_reply_round_trip);
    RUN(test_frames_follow_each_other);
    RUN(test_frame_limits);
    RUN(test_too_large_is_refused);
    RUN(test_long_error_text_is_cut);
    RUN(test_malformed_requests);
    RUN(test_too_many_arguments);
    RUN(test_arguments);
    RUN(test_arguments_of_no_map);
    RUN(test_random_damage);
    RUN(test_exit_codes);
    RUN(test_socket_path);
    RUN(test_home);
    return t_done();
}
