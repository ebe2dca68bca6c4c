/* The control socket's frames and sessions. The node behind it has a loop and a home and nothing else, so only commands that need
 * no more are asked; the others are asked by the end-to-end tests. */
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "node/api.h"
#include "proto/ctl.h"
#include "tests/unit/t.h"

struct fix { char dir[100], path[108]; struct home home; struct node n; };
struct client { struct fix *f; int fd; struct buf in; bool closed; };

static void setup(struct fix *f)
{
    const char *tmp = getenv("TMPDIR");
    *f = (struct fix){0};
    snprintf(f->dir, sizeof f->dir, "%.60s/lyapi-XXXXXX", tmp ? tmp : "/tmp");
    CHECK(mkdtemp(f->dir));
    f->home.path = f->dir;
    f->n.home = &f->home;
    OK(ctl_socket_path(f->dir, f->path));
    OK(loop_new(&f->n.loop));
    OK(api_new(&f->n, &f->n.api));
}

static void teardown(struct fix *f)
{
    api_free(&f->n.api);
    EQ_I(access(f->path, F_OK), -1);
    loop_free(&f->n.loop);
    OK(rmdir(f->dir));
}

static struct client dial(struct fix *f)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    memcpy(at.sun_path, f->path, sizeof f->path);
    struct client c = {.f = f, .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), .in = BUF_INIT(LIMIT_CTL_REPLY)};
    OK(connect(c.fd, (struct sockaddr *)&at, sizeof at));
    return c;
}

static void hang_up(struct client *c)
{
    close(c->fd);
    buf_release(&c->in);
}

static void on_readable(void *arg)
{
    struct client *c = arg;
    uint8_t piece[4096];
    ssize_t n = recv(c->fd, piece, sizeof piece, 0);
    if (n > 0) {
        buf_add(&c->in, piece, (size_t)n);
        return;
    }
    c->closed = true;
    loop_stop(c->f->n.loop);
}

/* Everything that the node says until it hangs up. A loop that was stopped does not run again: once in each test. */
static void listen_to_the_end(struct client *c)
{
    loop_add_fd(c->f->n.loop, c->fd, POLLIN, on_readable, c);
    OK(loop_run(c->f->n.loop));
    loop_del_fd(c->f->n.loop, c->fd);
    CHECK(c->closed);
}

/* The one reply to these bytes; then the node must hang up. */
static struct ctl_reply talk(struct fix *f, struct client *c, const void *data, size_t len)
{
    struct ctl_reply r = {0};
    *c = dial(f);
    EQ_I(send(c->fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
    listen_to_the_end(c);
    OK(ctl_reply_get(c->in.data, c->in.len, &r));
    return r;
}

static bool says(const struct ctl_reply *r, const char *words) { return memmem(r->text.p, r->text.len, words, strlen(words)) != NULL; }

static struct buf request(const char *command)
{
    struct buf b = BUF_INIT(LIMIT_CTL_REQUEST + 4u);
    OK(ctl_request_put(&b, command, NULL, 0));
    return b;
}

static void test_a_command_is_answered(void)
{
    struct fix f;
    struct client c;
    setup(&f);
    AUTO(buf_release) struct buf q = request("version");
    struct ctl_reply r = talk(&f, &c, q.data, q.len);
    struct bytes v = {0};
    bool ok = true;
    EQ_U(r.code, EXIT_DONE);
    CHECK(!r.more && ctl_arg_bytes(&r.value, "version", &v, &ok));
    EQ_U(v.len, strlen(LANYARD_VERSION));
    EQ_MEM(v.p, LANYARD_VERSION, v.len);
    hang_up(&c);
    teardown(&f);
}

static void test_unknown_commands_are_wrong_usage(void)
{
    struct fix f;
    struct client c;
    setup(&f);
    AUTO(buf_release) struct buf q = request("frob\nnicate");
    struct ctl_reply r = talk(&f, &c, q.data, q.len);
    EQ_U(r.code, EXIT_USAGE);
    CHECK(says(&r, "frob\\x0anicate"));
    hang_up(&c);
    teardown(&f);
}

static void test_one_request_a_connection(void)
{
    struct fix f;
    struct client c;
    setup(&f);
    AUTO(buf_release) struct buf q = request("version");
    AUTO(buf_release) struct buf again = request("version");
    buf_add(&q, again.data, again.len);
    struct ctl_reply r = talk(&f, &c, q.data, q.len);
    EQ_U(r.code, EXIT_USAGE);
    CHECK(says(&r, "one request"));
    hang_up(&c);
    teardown(&f);
}

static void test_oversize_and_empty_frames(void)
{
    static const uint8_t huge[] = {0xff, 0xff, 0xff, 0x7f, 1, 2, 3}, empty[] = {0, 0, 0, 0}, over[] = {1, 0, 16, 0};
    const struct bytes frames[] = {{huge, sizeof huge}, {empty, sizeof empty}, {over, sizeof over}};
    for (size_t i = 0; i < 3; i++) {
        struct fix f;
        struct client c;
        setup(&f);
        struct ctl_reply r = talk(&f, &c, frames[i].p, frames[i].len);
        EQ_U(r.code, EXIT_FAILED);
        CHECK(says(&r, "not allowed"));
        hang_up(&c);
        teardown(&f);
    }
}

/* Well-formed frames around random bytes: an answer with a failure each time. */
static void test_garbage(void)
{
    uint64_t seed = 1;
    for (int i = 0; i < 100; i++) {
        struct fix f;
        struct client c;
        uint8_t data[4 + 64] = {0};
        setup(&f);
        data[0] = (uint8_t)(1 + t_rand(&seed) % 64);
        for (size_t k = 0; k < data[0]; k++)
            data[4 + k] = (uint8_t)t_rand(&seed);
        struct ctl_reply r = talk(&f, &c, data, 4u + data[0]);
        CHECK(r.code != EXIT_DONE && r.text.len > 0);
        hang_up(&c);
        teardown(&f);
    }
}

struct dribble { struct client *c; const struct buf *q; size_t at; struct loop_timer timer; };

static void send_byte(void *arg)
{
    struct dribble *d = arg;
    if (send(d->c->fd, d->q->data + d->at, 1, MSG_NOSIGNAL) == 1)
        d->at++;
    if (d->at < d->q->len)
        loop_timer_set(d->c->f->n.loop, &d->timer, 0, send_byte, d);
}

static void test_a_request_byte_by_byte(void)
{
    struct fix f;
    struct ctl_reply r;
    setup(&f);
    AUTO(buf_release) struct buf q = request("version");
    struct client c = dial(&f);
    struct dribble d = {.c = &c, .q = &q};
    loop_timer_set(f.n.loop, &d.timer, 0, send_byte, &d);
    listen_to_the_end(&c);
    EQ_U(d.at, q.len);
    OK(ctl_reply_get(c.in.data, c.in.len, &r));
    EQ_U(r.code, EXIT_DONE);
    hang_up(&c);
    teardown(&f);
}

/* More events than are kept: the latest 1000, in order, then nil. */
static void test_events_are_kept(void)
{
    struct fix f;
    setup(&f);
    for (uint64_t i = 0; i < 1500; i++) {
        AUTO(buf_release) struct buf e = BUF_INIT(64);
        mp_put_map(&e, 1);
        mp_put_str(&e, "n");
        mp_put_u64(&e, i);
        api_event(f.n.api, &e);
    }
    AUTO(buf_release) struct buf q = request("events");
    struct client c = dial(&f);
    EQ_I(send(c.fd, q.data, q.len, MSG_NOSIGNAL), (ssize_t)q.len);
    listen_to_the_end(&c);
    uint64_t n = 500, v = 0;
    bool ok = true, more = true;
    for (size_t at = 0; more; n += more) {
        struct ctl_reply r;
        int64_t len = ctl_frame(c.in.data + at, c.in.len - at, LIMIT_CTL_REPLY);
        CHECK(len > 0);
        OK(ctl_reply_get(c.in.data + at, (size_t)len, &r));
        more = r.more;
        CHECK(!more || (ctl_arg_u64(&r.value, "n", &v, &ok) && ok && v == n));
        at += (size_t)len;
    }
    EQ_U(n, 1500);
    hang_up(&c);
    teardown(&f);
}

static void test_the_socket_is_the_owners_alone_and_a_dead_one_is_replaced(void)
{
    struct fix f;
    struct stat st;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    setup(&f);
    OK(stat(f.path, &st));
    EQ_U(st.st_mode & 0777, 0600);
    api_free(&f.n.api);
    int dead = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(at.sun_path, f.path, sizeof f.path);
    OK(bind(dead, (struct sockaddr *)&at, sizeof at));
    close(dead);
    OK(api_new(&f.n, &f.n.api));
    api_free(&f.n.api);
    OK(mkdir(f.path, 0700));
    FAILS(api_new(&f.n, &f.n.api), ERR_EXISTS, "move it away");
    OK(rmdir(f.path));
    teardown(&f);
}

int main(void)
{
    RUN(test_a_command_is_answered);
    RUN(test_unknown_commands_are_wrong_usage);
    RUN(test_one_request_a_connection);
    RUN(test_oversize_and_empty_frames);
    RUN(test_garbage);
    RUN(test_a_request_byte_by_byte);
    RUN(test_events_are_kept);
    RUN(test_the_socket_is_the_owners_alone_and_a_dead_one_is_replaced);
    return t_done();
}
