/* Block lists from peers. All parts of a list are taken from one source: only the whole can be checked, and then it is known who lied.
 *
 * Memory. A list is as long as its entry says, which anybody who may write can say, and it proves itself at its end. So a file begins
 * with its list only when there is room for it under PULL_LISTS_BYTES; one that could never have it waits until no other such file is
 * under way. Whoever waits is served in turn. Room that is held by a file which nobody can serve is taken from it: lists that were
 * complete are in the index. */
#include <sodium.h>
#include <stdlib.h>

#include "node/log.h"
#include "node/pull_priv.h"
#include "proto/path.h"

#define EVICT_MS 1000
#define ASIDE_MS 10000
enum { LIST_LEAVES = 7 };    /* in one answer: about 1 MiB */

struct list_request { struct request r; struct item *it; uint32_t first; };

static uint32_t have(const struct item *it) { return (uint32_t)(it->list.len / BLOCK_REF); }

/* ---- room ---- */

/* The list, where each block lies, and two bits for it. */
static uint64_t cost(const struct item *it)
{
    uint64_t n = it->ent.content.nblocks;
    return n * (BLOCK_REF + sizeof *it->offset) + n / 4;     /* and who owns them: 128 KiB at most */
}

static uint64_t *room_of(struct pull *p, uint64_t bytes) { return bytes > p->lists_max ? &p->large : &p->lists; }
static bool fits(struct pull *p, uint64_t bytes) { return bytes > p->lists_max ? !p->large : p->lists + bytes <= p->lists_max; }

void list_drop(struct pull *p, struct item *it)
{
    buf_release(&it->list);
    if (it->room)
        *room_of(p, it->room) -= it->room;
    it->room = 0;
}

static void evict(struct pull *p, uint64_t bytes)
{
    if (loop_now() < p->evicted + EVICT_MS)
        return;
    p->evicted = loop_now();
    for (struct item *it = p->all.head; it && !fits(p, bytes); it = it->next_item)
        if (it->room && room_of(p, it->room) == room_of(p, bytes) && item_unserved(p, it)) {
            log_debug("download set aside: nobody serves it path=%s", path_show(it->path, it->len));
            item_set_aside(p, it, ASIDE_MS);
        }
}

static bool take_room(struct pull *p, struct item *it)
{
    uint64_t bytes = cost(it);
    if (it->room)
        return true;
    if (!fits(p, bytes))
        evict(p, bytes);
    if (!fits(p, bytes))
        return false;
    it->room = bytes;
    *room_of(p, bytes) += bytes;
    return true;
}

/* ---- answers ---- */

static bool whole(const struct item *it) { return it->list.len == (size_t)it->ent.content.nblocks * BLOCK_REF; }

static int check(const struct item *it)
{
    return whole(it) ? block_list_check(it->list.data, it->ent.content.nblocks, &it->ent.content.root, it->ent.size) :
                       err_set(ERR_BAD, "block list: of another length");
}

/* The list is that of the content, and not what the author of the entry says about it: then he is wrong and not who serves it. */
static bool entry_lies(const struct item *it)
{
    struct id root = ID_NONE;
    if (have(it))
        root = block_root(it->list.data, have(it));
    return id_eq(&root, &it->ent.content.root);
}

static int keep(struct pull *p, const struct item *it)
{
    int r = engine_begin(p->c.engine);
    if (r == 0)
        r = index_tree_put(p->c.index, &it->ent.content.root, it->list.data, it->ent.content.nblocks);
    if (r == 0)
        return engine_commit(p->c.engine, loop_wall());
    if (index_in_tx(p->c.index))
        engine_rollback(p->c.engine);
    return r;
}

static int take(struct pull *p, const struct list_request *q, const struct msg *m, zmq_msg_t *body)
{
    struct item *it = q->it;
    if (m->tree.first != q->first || !m->tree.count || zmq_msg_size(body) != (size_t)m->tree.count * BLOCK_REF ||
        m->tree.count > it->ent.content.nblocks - q->first ||
        (m->tree.count % LIMIT_TREE_LEAF && q->first + m->tree.count != it->ent.content.nblocks))
        return err_set(ERR_BAD, "block list: not what was asked for");
    it->list_from = q->r.dev;
    buf_add(&it->list, zmq_msg_data(body), zmq_msg_size(body));
    if (!buf_ok(&it->list))
        return err_set(ERR_FULL, "block list: no memory");
    int r = whole(it) ? check(it) : 0;
    return r == 0 && whole(it) ? keep(p, it) : r;
}

/* Somebody else was asked in the meantime, and was quicker. */
static bool outrun(const struct list_request *q)
{
    const struct item *it = q->it;
    return it->cancelled || it->state != ITEM_LIST || q->first != have(it) || (q->first && !id_eq(&it->list_from, &q->r.dev));
}

static void answered(struct pull *p, const struct list_request *q, const struct msg *m, zmq_msg_t *body)
{
    struct item *it = q->it;
    if (outrun(q))
        return;
    int r = !m || m->type != MSG_TREE ? ERR_NOTFOUND : !take_room(p, it) ? ERR_AGAIN : take(p, q, m, body);
    if (r == 0 && whole(it))
        local_prepare(p, it);
    if (r == 0 || r == ERR_AGAIN)
        return;
    if (r == ERR_BAD && !entry_lies(it))
        strike(p, &q->r.dev, err_text());
    list_drop(p, it);
    deny(it, &q->r.dev);
    (void)item_outdated(p, it);
}

/* ---- requests ---- */

static void list_forget(struct request *r, const struct item *it)
{
    struct list_request *q = (struct list_request *)r;
    struct item *old = q->it;
    if (!old || (it && it != old))
        return;
    q->it = NULL;
    old->late--;
    item_unref(r->p, old);
}

static void list_turn(struct request *r, bool late)
{
    struct list_request *q = (struct list_request *)r;
    struct item *it = q->it;
    r->p->fetching += late ? (size_t)-1 : 1;
    if (!it)
        return;
    it->late += late ? 1u : (unsigned)-1;
    if (late && r->overtaken)
        deny(it, &r->dev);
    if (late && (it->cancelled || it->state != ITEM_LIST))
        list_forget(r, NULL);
    pull_wake(r->p, 0);
}

static void on_list(void *arg, const struct msg *m, zmq_msg_t *body)
{
    struct list_request *q = arg;
    struct pull *p = q->r.p;
    struct source *s = source_find(p, &q->r.dev);
    if (m)
        source_heard(s, &q->r, loop_now());
    else
        source_gave_up(s, &q->r);
    if (q->r.late)
        list_turn(&q->r, false);
    p->fetching--;
    if (q->it && !p->freeing)
        answered(p, q, m, body);
    if (q->it)
        item_unref(p, q->it);
    free(q);
    pull_wake(p, 0);
}

static void ask(struct pull *p, struct item *it, const struct id *dev)
{
    uint32_t first = have(it), left = it->ent.content.nblocks - first, most = LIST_LEAVES * LIMIT_TREE_LEAF;
    struct msg m = {.type = MSG_GET_TREE, .get_tree = {.root = it->ent.content.root, .nblocks = it->ent.content.nblocks,
                                                       .first = first, .count = left < most ? left : most}};
    struct list_request *q = xcalloc(1, sizeof *q);
    struct source *s = source_find(p, dev);
    *q = (struct list_request){.r = {.p = p, .dev = *dev, .turn = list_turn, .forget = list_forget}, .it = it, .first = first};
    it->refs++;
    p->fetching++;
    source_sent(s, &q->r, loop_now());
    link_request(peers_link(p->c.peers, dev), LANE_BULK, &m, source_patience(s), on_list, q);
}

/* ---- going on ---- */

/* Whom to ask for the next part: whoever sent the others, or anybody from the beginning: not always the first, who may be slow. */
static bool choose(struct pull *p, struct item *it, struct id *dev)
{
    struct id all[SOURCES_MAX];
    size_t n = sources_of(p, it, all);
    for (size_t i = 0; have(it) && i < n; i++)
        if (id_eq(&all[i], &it->list_from)) {
            *dev = all[i];
            return true;
        }
    if (n == 0)
        return false;
    buf_clear(&it->list);
    *dev = all[randombytes_uniform((uint32_t)n)];
    return true;
}

/* The list may be in the index, from an earlier file of the same content. */
static bool look(struct pull *p, struct item *it)
{
    it->list_looked = true;
    if (index_tree_get(p->c.index, &it->ent.content.root, &it->list) == 0 && check(it) == 0) {
        local_prepare(p, it);
        return true;
    }
    buf_clear(&it->list);
    return false;
}

void list_pump(struct pull *p)
{
    bool full[2] = {false, false};       /* by class; whoever comes later waits behind */
    for (struct item *it = p->listing ? p->all.head : NULL; it; it = it->next_item) {
        bool *f = &full[cost(it) > p->lists_max];
        struct id dev;
        if (it->state != ITEM_LIST || it->refs != it->late || it->cancelled || (!it->room && *f))
            continue;
        if (it->list_looked && !choose(p, it, &dev))
            continue;
        *f = !take_room(p, it);
        if (*f || (!it->list_looked && look(p, it)))
            continue;
        if (choose(p, it, &dev))
            ask(p, it, &dev);
        else
            list_drop(p, it);            /* room is for those that can go on */
    }
}
