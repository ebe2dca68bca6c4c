#include "node/api.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "node/api_priv.h"
#include "node/log.h"
#include "proto/path.h"

enum { SESSIONS_MAX = 128, BACKLOG = 32, EVENTS_KEPT = 1000, CHECK_MS = 100, READ = 64 * 1024 };
#define WAITING_MAX LIMIT_CTL_REPLY                /* a client that lets more wait does not read */

static const struct { const char *name; handler run; } commands[] = {
    {"audit", run_audit}, {"cat", run_cat}, {"check", run_check}, {"config", run_config}, {"conflicts", run_conflicts}, {"device", run_device}, {"devices", run_devices},
    {"down", run_down}, {"events", run_events}, {"gate", run_gate}, {"gc", run_gc}, {"invite", run_invite}, {"log", run_log}, {"pause", run_pause}, {"policy", run_policy}, {"require", run_require}, {"resolve", run_resolve},
    {"restore", run_restore}, {"resume", run_resume}, {"scan", run_scan}, {"snapshot", run_snapshot}, {"status", run_status},
    {"version", run_version}, {"wait", run_wait},
};

static void tick(void *arg);

static void tick_in(struct api *a, uint64_t in_ms)
{
    uint64_t due = loop_now() + in_ms;
    if (!a->tick.set || a->tick.due > due)
        loop_timer_set(a->n->loop, &a->tick, in_ms, tick, a);
}

/* ---- the life of a session ---- */

/* Freed by the next tick. */
static void session_kill(struct session *s)
{
    if (s->state == SESSION_DEAD)
        return;
    s->state = SESSION_DEAD;
    loop_del_fd(s->n->loop, s->fd);
    tick_in(s->api, 0);
}

static void session_free(struct session *s)
{
    if (s->state != SESSION_DEAD)
        loop_del_fd(s->n->loop, s->fd);
    if (s->release)
        s->release(s->data);
    close(s->fd);
    buf_release(&s->in);
    buf_release(&s->out);
    free(s);
}

static void sweep(struct api *a)
{
    for (struct session **p = &a->sessions, *s; (s = *p);) {
        if (s->state != SESSION_DEAD) {
            p = &s->next;
            continue;
        }
        *p = s->next;
        a->nsession--;
        session_free(s);
    }
}

/* ---- sending ---- */

size_t session_waiting(const struct session *s) { return s->out.len - s->sent; }

static void flush(struct session *s)
{
    while (session_waiting(s) > 0) {
        ssize_t n = send(s->fd, s->out.data + s->sent, session_waiting(s), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n < 0) {
            session_kill(s);
            return;
        }
        s->sent += (size_t)n;
    }
    if (session_waiting(s) == 0) {
        buf_clear(&s->out);
        s->sent = 0;
        if (s->state == SESSION_CLOSING) {
            session_kill(s);
            return;
        }
    }
    loop_set_fd(s->n->loop, s->fd, session_waiting(s) ? POLLIN | POLLOUT : POLLIN);
}

/* Room for more at the end, without moving the rest about each time. */
static void make_room(struct session *s)
{
    if (s->sent < s->out.len / 2)
        return;
    s->out.len -= s->sent;
    if (s->out.len)
        memmove(s->out.data, s->out.data + s->sent, s->out.len);
    s->sent = 0;
}

static void put_reply(struct session *s, enum exit_code code, const char *text, bool more, const struct buf *value)
{
    if (s->state == SESSION_DEAD || s->state == SESSION_CLOSING)
        return;
    make_room(s);
    size_t before = session_waiting(s);
    int r = value && !buf_ok(value) ? err_set(ERR_FULL, "the answer is longer than %u bytes: ask for less", LIMIT_CTL_REPLY)
                                    : ctl_reply_put(&s->out, code, text, more, value ? value->data : NULL, value ? value->len : 0);
    if (r < 0 && buf_ok(&s->out)) {
        more = false;
        r = ctl_reply_put(&s->out, EXIT_FAILED, err_text(), false, NULL, 0);
    }
    if (r < 0 || (before > 0 && session_waiting(s) > WAITING_MAX)) {
        session_kill(s);
        return;
    }
    if (!more)
        s->state = SESSION_CLOSING;
    flush(s);
}

void session_reply(struct session *s, bool more, const struct buf *value) { put_reply(s, EXIT_DONE, "", more, value); }
void session_fail(struct session *s, enum exit_code code, const char *text) { put_reply(s, code, text, false, NULL); }

static void fail_with(struct session *s, int r)
{
    session_fail(s, ctl_exit_code(r), err_text());
}

/* ---- requests ---- */

static handler find_command(const struct bytes *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strlen(commands[i].name) == name->len && memcmp(commands[i].name, name->p, name->len) == 0)
            return commands[i].run;
    return NULL;
}

static int run(struct session *s, size_t frame)
{
    struct ctl_request q;
    if (frame < s->in.len)
        return err_set(ERR_USAGE, "control socket: one request a connection");
    int r = ctl_request_get(s->in.data, frame, &q);
    if (r < 0)
        return r;
    handler h = find_command(&q.command);
    if (!h)
        return err_set(ERR_USAGE, "the node (version %s) has no command %s: are lanyard and lanyardd of the same version?",
                       LANYARD_VERSION, path_show(q.command.p, q.command.len));
    s->state = SESSION_RUNNING;
    return h(s, &q.args);
}

static void take(struct session *s)
{
    int64_t frame = ctl_frame(s->in.data, s->in.len, LIMIT_CTL_REQUEST);
    int r = frame > 0 ? run(s, (size_t)frame) : (int)frame;
    if (r < 0)
        fail_with(s, r);
}

/* Whatever comes behind the one request ends the session, and so does the client's end. */
static void receive(struct session *s)
{
    uint8_t piece[READ];
    while (s->state != SESSION_DEAD) {
        ssize_t n = recv(s->fd, piece, sizeof piece, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n <= 0 || s->state != SESSION_READING) {
            session_kill(s);
            return;
        }
        buf_add(&s->in, piece, (size_t)n);
        if (buf_ok(&s->in))
            take(s);
        else
            session_fail(s, EXIT_USAGE, "control socket: one request a connection");
    }
}

static void on_ready(void *arg)
{
    struct session *s = arg;
    receive(s);
    if (s->state == SESSION_DEAD || session_waiting(s) == 0)
        return;
    flush(s);
    if (s->state == SESSION_RUNNING && s->drained && session_waiting(s) < SESSION_LOW)
        s->drained(s);
}

/* ---- waiting ---- */

void session_wait(struct session *s, int (*check)(struct session *), uint64_t timeout_ms, void (*late)(struct session *))
{
    uint64_t now = loop_now();
    s->check = check;
    s->late = late;
    s->began = now;
    s->until = timeout_ms > NO_LIMIT - now ? NO_LIMIT : now + timeout_ms;
    tick_in(s->api, 0);
}

static void check_one(struct session *s)
{
    int r = s->check(s);
    if (r < 0)
        fail_with(s, r);
    else if (s->state == SESSION_RUNNING && s->check && s->late && loop_now() >= s->until)
        s->late(s);
}

static bool is_waiting(const struct session *s) { return s->state == SESSION_RUNNING && s->check; }

static void tick(void *arg)
{
    struct api *a = arg;
    uint64_t next = NO_LIMIT, now = loop_now();
    for (struct session *s = a->sessions; s; s = s->next)
        if (is_waiting(s))
            check_one(s);
    sweep(a);
    for (struct session *s = a->sessions; s; s = s->next)
        if (is_waiting(s)) {
            uint64_t in = s->until > now ? s->until - now : 0;
            next = next < CHECK_MS ? next : CHECK_MS;
            next = s->late && in < next ? in : next;
        }
    if (next != NO_LIMIT)
        tick_in(a, next ? next : 1);
}

/* The checks are made by the timer: whoever calls this is in the middle of something. */
void api_poll(struct api *a)
{
    if (!a)
        return;
    for (struct session *s = a->sessions; s; s = s->next)
        if (is_waiting(s)) {
            tick_in(a, 0);
            return;
        }
}

bool api_working(const struct api *a)
{
    for (const struct session *s = a ? a->sessions : NULL; s; s = s->next)
        if (s->state == SESSION_RUNNING && s->data)
            return true;
    return false;
}

/* ---- events ---- */

void api_event(struct api *a, const struct buf *map)
{
    assert(buf_ok(map));
    if (a->nring < EVENTS_KEPT)
        a->nring++;
    struct buf *b = &a->ring[a->ring_at];
    a->ring_at = (a->ring_at + 1) % EVENTS_KEPT;
    b->max = map->len;
    buf_release(b);
    buf_add(b, map->data, map->len);
    for (struct session *s = a->sessions; s; s = s->next)
        if (s->state == SESSION_RUNNING && s->follow)
            session_reply(s, true, map);
}

void api_ring_each(struct api *a, void (*fn)(struct session *, const struct buf *), struct session *s)
{
    size_t first = (a->ring_at + EVENTS_KEPT - a->nring) % EVENTS_KEPT;
    for (size_t i = 0; i < a->nring; i++)
        fn(s, &a->ring[(first + i) % EVENTS_KEPT]);
}

/* ---- the socket ---- */

/* Whether the process at the other end is the node's own user's, or root's. */
static bool is_allowed(int fd)
{
    struct ucred peer = {0};
    socklen_t len = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && len == sizeof peer && (peer.uid == geteuid() || peer.uid == 0);
}

static void open_session(struct api *a, int fd)
{
    struct session *s = xcalloc(1, sizeof *s);
    *s = (struct session){.api = a, .n = a->n, .fd = fd, .in = BUF_INIT(LIMIT_CTL_REQUEST + 4u),
                          .out = BUF_INIT(2u * LIMIT_CTL_REPLY + LIMIT_HEAD), .next = a->sessions};
    a->sessions = s;
    a->nsession++;
    loop_add_fd(a->n->loop, fd, POLLIN, on_ready, s);
    if (!is_allowed(fd))
        session_fail(s, EXIT_DENIED, "this node belongs to another user: run this as that user");
}

static void on_connection(void *arg)
{
    struct api *a = arg;
    int fd;
    while ((fd = accept4(a->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (a->nsession < SESSIONS_MAX) {
            open_session(a, fd);
            continue;
        }
        log_seldom(LOG_WARN, "control socket: more than %d connections at once", SESSIONS_MAX);
        close(fd);
    }
    if (errno == EMFILE || errno == ENFILE)
        log_seldom(LOG_WARN, "control socket: %m");
}

/* What a node that has ended left there. The lock of the home proves that none is running. */
static int remove_dead(const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : err_set(ERR_IO, "control socket %s: %m", path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(ERR_EXISTS, "control socket %s: something else is there: move it away", path);
    return unlink(path) == 0 ? 0 : err_set(ERR_IO, "control socket %s: %m", path);
}

static int open_socket(struct api *a)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int r = remove_dead(a->path);
    if (r < 0)
        return r;
    memcpy(at.sun_path, a->path, sizeof a->path);
    a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (a->fd < 0)
        return err_set(ERR_IO, "control socket: %m");
    /* The file gets the mode that the socket has when it is bound: there is no moment with a wider one. */
    if (fchmod(a->fd, 0600) < 0 || bind(a->fd, (struct sockaddr *)&at, sizeof at) < 0)
        return err_set(ERR_IO, "control socket %s: %m", a->path);
    if (chmod(a->path, 0600) < 0 || listen(a->fd, BACKLOG) < 0)
        return err_set(ERR_IO, "control socket %s: %m", a->path);
    return 0;
}

int api_new(struct node *n, struct api **out)
{
    struct api *a = xcalloc(1, sizeof *a);
    *a = (struct api){.n = n, .fd = -1, .ring = xcalloc(EVENTS_KEPT, sizeof *a->ring)};
    int r = ctl_socket_path(n->home->path, a->path);
    if (r == 0)
        r = open_socket(a);
    if (r < 0) {
        api_free(&a);
        return r;
    }
    loop_add_fd(n->loop, a->fd, POLLIN, on_connection, a);
    *out = a;
    return 0;
}

void api_free(struct api **pa)
{
    struct api *a = *pa;
    if (!a)
        return;
    while (a->sessions) {
        struct session *s = a->sessions;
        a->sessions = s->next;
        session_free(s);
    }
    loop_timer_clear(a->n->loop, &a->tick);
    if (a->fd >= 0) {
        loop_del_fd(a->n->loop, a->fd);
        close(a->fd);
        unlink(a->path);
    }
    for (size_t i = 0; i < EVENTS_KEPT; i++)
        buf_release(&a->ring[i]);
    free(a->ring);
    free(a);
    *pa = NULL;
}

/* ---- arguments ---- */

static int wrong(const char *key) { return err_set(ERR_USAGE, "argument \"%s\": missing or of the wrong type", key); }

int arg_u64(const struct bytes *args, const char *key, uint64_t *v)
{
    bool ok = true;
    ctl_arg_u64(args, key, v, &ok);
    return ok ? 0 : wrong(key);
}

int arg_bool(const struct bytes *args, const char *key, bool *v)
{
    bool ok = true;
    ctl_arg_bool(args, key, v, &ok);
    return ok ? 0 : wrong(key);
}

int arg_text(const struct bytes *args, const char *key, char **v)
{
    bool ok = true;
    struct bytes b = {0};
    *v = NULL;
    bool there = ctl_arg_bytes(args, key, &b, &ok);
    if (!ok || (b.len > 0 && memchr(b.p, '\0', b.len)))
        return wrong(key);
    if (!there)
        return 0;
    *v = xcalloc(b.len + 1, 1);
    if (b.len)
        memcpy(*v, b.p, b.len);
    return 0;
}

int arg_path(const struct bytes *args, const char *key, bool needed, struct bytes *v)
{
    bool ok = true;
    *v = (struct bytes){0};
    bool there = ctl_arg_bytes(args, key, v, &ok);
    if (!ok || (needed && !there))
        return wrong(key);
    return there ? path_check(v->p, v->len) : 0;
}

/* ---- values ---- */

void put_text(struct buf *b, const char *key, const char *v)
{
    mp_put_str(b, key);
    if (v)
        mp_put_str(b, v);
    else
        mp_put_nil(b);
}

void put_time(struct buf *b, const char *key, uint64_t ms)
{
    char text[40];
    if (ms)
        node_time(text, ms);
    put_text(b, key, ms ? text : NULL);
}

void put_u64(struct buf *b, const char *key, uint64_t v)
{
    mp_put_str(b, key);
    mp_put_u64(b, v);
}

void put_bool(struct buf *b, const char *key, bool v)
{
    mp_put_str(b, key);
    mp_put_bool(b, v);
}

void put_id(struct buf *b, const char *key, const struct id *v)
{
    char hex[ID_HEX];
    put_text(b, key, id_hex(v, hex));
}

void put_path(struct buf *b, const char *key, const void *path, size_t len)
{
    mp_put_str(b, key);
    mp_put_bin(b, path, len);
}
