#include "node/announce.h"

#include <sodium.h>

#include "node/far.h"
#include "node/log.h"
#include "node/node_priv.h"

#define OWN_MS 10
#define HOLD_MS 2000
#define LEARNT_PEERS 10         /* up to so many peers it makes no difference */
#define LEARNT_PEER_MS 10       /* for each above them */
#define LEARNT_MAX_MS 1000
#define REPEAT_MS 15000
#define REPEAT_PEERS 16         /* the longest pause between repetitions is this many times longer for each so many peers */

static void announce(void *arg);

static bool wrote_last_record(const struct node *n)
{
    struct bytes blob;
    struct ctl c;
    uint64_t last = control_group(n->home->control)->ctl_n;
    return control_record(n->home->control, last, &blob) == 0 && ctl_decode(blob.p, blob.len, &c) == 0 && id_eq(&c.signer, &n->home->keys->dev);
}

/* What of its own this device has to tell; in a large group, where most do not hear the author himself, also control records of others. */
static bool has_written(const struct node *n)
{
    const struct announced *a = &n->announced;
    const struct sid *own = engine_own_sid(n->engine);
    return (own && engine_known_of(n->engine, own) != a->written) ||
           (control_group(n->home->control)->ctl_n != a->ctl_n && (far_is_large(n) || wrote_last_record(n)));
}

uint64_t announce_news_pause(bool own, size_t peers)
{
    if (own || peers <= LEARNT_PEERS)
        return OWN_MS;
    uint64_t most = OWN_MS + (peers - LEARNT_PEERS) * LEARNT_PEER_MS;
    if (most > LEARNT_MAX_MS)
        most = LEARNT_MAX_MS;
    return most - randombytes_uniform((uint32_t)most / 2);
}

uint64_t announce_repeat_pause(uint64_t *last, bool news, size_t peers)
{
    uint64_t longest = REPEAT_MS * (1 + (uint64_t)peers / REPEAT_PEERS), pause = news ? REPEAT_MS : 2 * *last;
    *last = pause < longest ? pause : longest;
    return *last * 4 / 5 + randombytes_uniform((uint32_t)(*last * 2 / 5));
}

void announce_news(struct node *n)
{
    struct announced *a = &n->announced;
    uint64_t now = loop_now(), held = a->held_until > now ? a->held_until - now : 0;
    if (a->soon && a->timer.due <= now + OWN_MS)
        return;
    uint64_t pause = announce_news_pause(has_written(n), peers_online(n->peers));
    pause = pause > held ? pause : held;
    if (a->soon && a->timer.due <= now + pause)
        return;
    a->soon = true;
    loop_timer_set(n->loop, &a->timer, pause, announce, n);
}

static void announce(void *arg)
{
    struct node *n = arg;
    struct announced *a = &n->announced;
    AUTO(buf_release) struct buf blob = BUF_INIT(LIMIT_BODY);
    bool news = a->soon;
    const struct sid *own = engine_own_sid(n->engine);
    a->soon = false;
    a->written = own ? engine_known_of(n->engine, own) : 0;
    a->ctl_n = control_group(n->home->control)->ctl_n;
    if (engine_own_vector(n->engine, loop_wall(), net_port(n->net), &blob) < 0)
        log_error("own vector why=\"%s\"", err_text());
    else if (!n->paused) {
        net_publish(n->net, blob.data, blob.len);
        a->ctr = engine_own_ctr(n->engine);
    }
    loop_timer_set(n->loop, &a->timer, announce_repeat_pause(&a->pause, news, node_online_count(n)), announce, n);
}

void announce_hold(struct node *n) { n->announced.held_until = loop_now() + HOLD_MS; }

void announce_release(struct node *n)
{
    n->announced.held_until = 0;
    if (n->announced.soon)
        announce_news(n);
}

void announce_end(struct node *n) { loop_timer_clear(n->loop, &n->announced.timer); }
