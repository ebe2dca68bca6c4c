/* Who may connect: the ZAP handler (RFC 27 of ZeroMQ). */
#include <errno.h>
#include <string.h>

#include "node/log.h"
#include "node/net_priv.h"

/* ---- ZAP ---- */

struct verdict { const char *code, *text; char user[ID_HEX]; };

static struct verdict judge(struct net *n, const char *domain, const uint8_t key[32])
{
    struct verdict v = {.code = "300", .text = "not a member"};
    if (strcmp(domain, "join") == 0) {
        if (n->join) {
            v.code = "200";
            v.text = "";
            hex_encode(v.user, key, 32);
        }
        return v;
    }
    const struct member *m = group_by_transport(n->c.group, key);
    if (strcmp(domain, "lanyard") != 0 || !m)
        return v;
    if (m->revoked)
        return (struct verdict){.code = "400", .text = "revoked"};
    v.code = "200";
    v.text = "";
    id_hex(&m->card.dev, v.user);
    return v;
}

enum { ZAP_VERSION, ZAP_REQUEST, ZAP_DOMAIN, ZAP_ADDRESS, ZAP_IDENTITY, ZAP_MECHANISM, ZAP_KEY, ZAP_FRAMES };
struct zap_request { uint8_t frame[ZAP_FRAMES][256]; size_t len[ZAP_FRAMES], n; };

/* Reads a whole request; false when none waits. Frames beyond those of the protocol make n too large. */
static bool zap_read(void *s, struct zap_request *q)
{
    memset(q, 0, sizeof *q);
    int more = 1;
    size_t size = sizeof more;
    while (more) {
        uint8_t *to = q->frame[q->n < ZAP_FRAMES ? q->n : 0];
        int len = zmq_recv(s, to, 255, q->n ? 0 : ZMQ_DONTWAIT);
        if (len < 0)
            return false;
        if (q->n < ZAP_FRAMES)
            q->len[q->n] = (size_t)(len > 255 ? 255 : len);
        q->n++;
        zmq_getsockopt(s, ZMQ_RCVMORE, &more, &size);
    }
    return true;
}

static void zap_answer(struct net *n, const struct zap_request *q, const struct verdict *v)
{
    const struct { const void *data; size_t len; } frame[] = {
        {"1.0", 3}, {q->frame[ZAP_REQUEST], q->len[ZAP_REQUEST]}, {v->code, 3}, {v->text, strlen(v->text)}, {v->user, strlen(v->user)}, {"", 0},
    };
    size_t count = sizeof frame / sizeof *frame;
    for (size_t i = 0; i < count; i++)
        if (loop_send(n->c.loop, n->zap, frame[i].data, frame[i].len, i + 1 < count ? ZMQ_SNDMORE : 0) < 0)
            log_seldom(LOG_ERROR, "access control cannot answer why=\"%s\"", zmq_strerror(errno));
}

void net_zap_serve(void *arg)
{
    struct net *n = arg;
    struct zap_request q;
    while (zap_read(n->zap, &q)) {
        struct verdict v = {.code = "500", .text = "malformed"};
        if (q.n == ZAP_FRAMES && q.len[ZAP_KEY] == 32 && strcmp((char *)q.frame[ZAP_MECHANISM], "CURVE") == 0)
            v = judge(n, (char *)q.frame[ZAP_DOMAIN], q.frame[ZAP_KEY]);
        if (strcmp(v.code, "200") != 0)
            log_seldom(LOG_INFO, "connection refused from=%s why=%s", (char *)q.frame[ZAP_ADDRESS], v.text);
        zap_answer(n, &q, &v);
    }
}
