#include "cli/link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/cli.h"

struct request request_new(const char *command)
{
    return (struct request){ .command = command, .args = BUF_INIT(LIMIT_CTL_REQUEST) };
}

void request_release(struct request *q)
{
    buf_release(&q->args);
}

void request_str(struct request *q, const char *key, const char *v)
{
    if (!v)
        return;
    mp_put_str(&q->args, key);
    mp_put_str(&q->args, v);
    q->nargs++;
}

void request_path(struct request *q, const char *key, const char *v)
{
    if (!v)
        return;
    mp_put_str(&q->args, key);
    mp_put_bin(&q->args, v, strlen(v));
    q->nargs++;
}

void request_u64(struct request *q, const char *key, uint64_t v)
{
    mp_put_str(&q->args, key);
    mp_put_u64(&q->args, v);
    q->nargs++;
}

void request_bool(struct request *q, const char *key, bool v)
{
    mp_put_str(&q->args, key);
    mp_put_bool(&q->args, v);
    q->nargs++;
}

static int not_running(void)
{
    err_set(ERR_CLOSED, "the node is not running: start it with lanyard up");
    return EXIT_NOT_RUNNING;
}

int link_open(struct link *l, const char *home)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int rc = ctl_socket_path(home, to.sun_path);
    if (rc < 0)
        return failed(rc);
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        return failed(err_set(ERR_IO, "no socket: %m"));
    if (connect(l->fd, (struct sockaddr *)&to, sizeof to) == 0)
        return 0;
    if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR)
        return not_running();
    if (errno == EACCES || errno == EPERM)
        return failed(err_set(ERR_DENIED, "%s: %m: run this as the user whose node it is", to.sun_path));
    return failed(err_set(ERR_IO, "%s: %m", to.sun_path));
}

int link_send(struct link *l, const struct request *q)
{
    AUTO(buf_release) struct buf args = BUF_INIT(LIMIT_CTL_REQUEST);
    AUTO(buf_release) struct buf frame = BUF_INIT(LIMIT_CTL_REQUEST + 4u);
    mp_put_map(&args, q->nargs);
    buf_add(&args, q->args.data, q->args.len);
    if (!buf_ok(&q->args) || !buf_ok(&args))
        return usage_error("%s: the arguments are too long: shorten them", q->command);
    int rc = ctl_request_put(&frame, q->command, args.data, args.len);
    if (rc < 0)
        return failed(rc);
    for (size_t done = 0; done < frame.len;) {
        ssize_t n = send(l->fd, frame.data + done, frame.len - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EPIPE)
            break; /* it may have answered before it closed: link_next finds out */
        if (n < 0 && errno != EINTR)
            return failed(err_set(ERR_IO, "control socket: %m"));
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Receives some more. An exit code; the end of the stream is a failure here. */
static int receive(struct link *l)
{
    size_t before = l->in.len;
    uint8_t *room = buf_room(&l->in, LINK_READ);
    if (!room)
        return failed(err_set(ERR_FULL, "no memory for the reply of the node"));
    ssize_t n = recv(l->fd, room, LINK_READ, 0);
    int error = errno;
    l->in.len = before + (n > 0 ? (size_t)n : 0);
    if (n > 0 || (n < 0 && error == EINTR))
        return 0;
    if (n == 0 || error == ECONNRESET)
        return failed(err_set(ERR_CLOSED, "the node ended before it answered: see its log"));
    errno = error;
    return failed(err_set(ERR_IO, "control socket: %m"));
}

static int refused(const struct ctl_reply *r)
{
    if (r->text.len > 0)
        err_set(ERR_BAD, "%.*s", (int)r->text.len, (const char *)r->text.p);
    else
        err_set(ERR_BAD, "the node refused, without a reason: see its log");
    return (int)r->code;
}

int link_next(struct link *l, struct ctl_reply *out)
{
    int code;
    l->in.len -= l->used;
    if (l->used)
        memmove(l->in.data, l->in.data + l->used, l->in.len);
    l->used = 0;
    int64_t n;
    while ((n = ctl_frame(l->in.data, l->in.len, LIMIT_CTL_REPLY)) == 0)
        if ((code = receive(l)) != 0)
            return code;
    if (n < 0)
        return failed((int)n);
    l->used = (size_t)n;
    int rc = ctl_reply_get(l->in.data, l->used, out);
    if (rc < 0)
        return failed(rc);
    return out->code ? refused(out) : 0;
}

bool link_ready(const struct link *l)
{
    return l->fd >= 0 && l->in.len > l->used && ctl_frame(l->in.data + l->used, l->in.len - l->used, LIMIT_CTL_REPLY) != 0;
}

int link_ask(struct link *l, const char *home, const struct request *q, struct ctl_reply *out)
{
    int code = link_open(l, home);
    if (!code)
        code = link_send(l, q);
    if (!code)
        code = link_next(l, out);
    return code;
}

void link_close(struct link *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    l->used = 0;
    buf_release(&l->in);
}

int link_process(const struct link *l)
{
    struct ucred peer = { 0 };
    socklen_t len = sizeof peer;
    if (getsockopt(l->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 || peer.pid <= 0)
        return -1;
    return pidfd_open(peer.pid, 0);
}
