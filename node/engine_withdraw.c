/* What no longer counts of a stream: the entries beyond a number from which on it has two histories, or its device might not write. They stay
 * in the index, to be read, but are neither live nor wanted, and their paths are as if they had never come. What was live of two histories
 * is signed again by whoever has it; if nobody has, an older version that lies on a disk is, in its place; of what a device wrote that might not, nobody signs anything. What of it is on this disk makes way
 * for what counts, and is kept. */
#include <stdlib.h>
#include <string.h>

#include "node/engine_priv.h"

enum { AGAIN_OF_PATH = 8 };

/* ---- a list of it ---- */

struct lost_entry { int64_t id, path, stream; uint64_t seq, hlc; enum kind kind; bool live; };
struct lost { struct lost_entry *v; size_t n, cap; };

static int note(void *arg, const struct ix_entry *row)
{
    struct lost *l = arg;
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        l->v = xrealloc(l->v, l->cap, sizeof *l->v);
    }
    l->v[l->n++] = (struct lost_entry){row->id, row->path, row->stream, row->seq, row->hlc, row->kind, row->live};
    return 0;
}

static struct version version_of(const struct lost_entry *l)
{
    return (struct version){.dot.seq = l->seq, .hlc = l->hlc, .tombstone = l->kind == KIND_TOMBSTONE, .directory = l->kind == KIND_DIR};
}

/* Those of a path together; what was live first, and of that the greatest. */
static int by_path_and_rank(const void *a, const void *b)
{
    const struct lost_entry *x = a, *y = b;
    if (x->path != y->path)
        return x->path < y->path ? -1 : 1;
    if (x->live != y->live)
        return x->live ? -1 : 1;
    struct version vx = version_of(x), vy = version_of(y);
    const struct version *both[] = {&vx, &vy};
    return x->seq == y->seq ? 0 : merge_winner(both, 2) == 0 ? -1 : 1;
}

/* ---- signed again ---- */

static int any(void *arg, const struct ix_kept *k) { (void)arg, (void)k; return 1; }
static int any_local(void *arg, const struct ix_local *l) { (void)arg, (void)l; return 1; }

/* 1 = yes: who signs it anew must be able to give it to others. */
static int have_content(struct engine *e, const struct entry *ent)
{
    if (ent->content.type != CONTENT_BLOCKS)
        return 1;
    int r = index_kept_by_root(e->c.index, &ent->content.root, any, NULL);
    return r ? r : index_local_by_root(e->c.index, &ent->content.root, any_local, NULL);
}

static bool same_dots(const struct dots *a, const struct dots *b)
{
    size_t i = 0;
    while (i < a->n && i < b->n && dot_cmp(&a->v[i], &b->v[i]) == 0)
        i++;
    return i == a->n && i == b->n;
}

/* It supersedes what the other one did, and perhaps that one, too. */
static bool descends_alike(const struct version *x, const struct version *was)
{
    AUTO(dots_release) struct dots itself = {0};
    dots_copy(&itself, &was->ctx);
    ctx_raise(&itself, &was->dot.sid, was->dot.seq);
    return same_dots(&x->ctx, &was->ctx) || same_dots(&x->ctx, &itself);
}

/* No two have the same hlc by chance, but those that are dated by the time of a file. */
static bool is_again(const struct entry *x, const struct entry *was)
{
    bool same = was->kind == KIND_SNAPSHOT ? x->kind == KIND_SNAPSHOT : entry_same(x, was);
    bool by_chance = was->kind <= KIND_TOMBSTONE && was->v.hlc == engine_dated_by_file(was->mtime_ns);
    return same && !by_chance && x->mtime_ns == was->mtime_ns && x->v.hlc == was->v.hlc && descends_alike(&x->v, &was->v);
}

static int64_t find_again(const struct versions *vs, const struct entry *was)
{
    for (size_t i = 0; i < vs->n; i++)
        if (is_again(&vs->v[i].ent, was))
            return vs->v[i].row.id;
    return 0;
}

/* What was on this disk as that entry is there as another one now, or (0) as none: it will be seen again. */
static int move_local(struct engine *e, const struct lost_entry *l, int64_t to)
{
    struct ix_local here;
    int r = index_local_get(e->c.index, l->path, &here);
    if (r == 0 && here.entry == l->id) {
        here.entry = to;
        r = to ? index_local_put(e->c.index, &here) : index_local_del(e->c.index, l->path);
    }
    return r == ERR_NOTFOUND ? 0 : r;
}

static int sign_again(struct engine *e, const struct lost_entry *l, struct dots *own, enum renewal again, uint64_t wall_ms)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    struct vers v = {0};
    int64_t id;
    int r = engine_entry(e, l->id, &raw, &v.ent, &v.row);
    if (r == 0)
        r = engine_write_again(e, &v, own, again == AGAIN_OVER, wall_ms, &id);
    if (r == 0)
        r = move_local(e, l, id);
    entry_release(&v.ent);
    return r;
}

/* It is history from now on, so its time to stay begins now, however long it has waited as a conflict. */
static int leave_to_history(struct engine *e, const struct lost_entry *l, uint64_t wall_ms)
{
    struct ix_entry row;
    int r = index_entry_get(e->c.index, l->id, &row, NULL);
    return r == 0 && !id_is_none(&row.root) ? index_kept_renew(e->c.index, &row.root, clock_at_least_aged(e, wall_ms)) : r;
}

enum choice { LEFT, AGAIN, DONE };    /* DONE: by somebody else */

/* What somebody else has signed again is not signed twice: if that has been deleted since, a second one would bring it back. */
static int choose_one(struct engine *e, const struct lost_entry *l, const struct versions *vs, enum choice *choice)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry ent = {0};
    struct ix_entry row;
    int r = engine_entry(e, l->id, &raw, &ent, &row);
    int64_t other = r == 0 ? find_again(vs, &ent) : 0;
    if (other) {
        *choice = DONE;
        return move_local(e, l, other);
    }
    if (r == 0)
        r = have_content(e, &ent);
    *choice = r > 0 ? AGAIN : LEFT;
    return r < 0 ? r : 0;
}

/* The greatest whose contents are here; the others of which that is not so are for others to sign. */
static int choose(struct engine *e, const struct lost_entry *l, size_t n, enum choice *choice, uint64_t wall_ms)
{
    AUTO(versions_release) struct versions vs;
    unsigned chosen = 0;
    int r = versions_load(e, l->path, &vs);
    for (size_t i = 0; r == 0 && i < n; i++) {
        if (!may_write(e))
            r = move_local(e, &l[i], 0);     /* who may not sign anything forgets that it is on its disk */
        else if (chosen < AGAIN_OF_PATH)
            r = choose_one(e, &l[i], &vs, &choice[i]);
        chosen += choice[i] != LEFT;
        if (r == 0 && choice[i] == LEFT)
            r = leave_to_history(e, &l[i], wall_ms);
    }
    return r;
}

/* What was live is not here and, as far as they have said, with nobody else: so the version that it was to replace, and that still lies
 * here, is the newest there is. Were it not signed again, it would make way for nothing. */
static int save_shown(struct engine *e, const struct lost_entry *l, size_t live, size_t n, struct dots *own, enum renewal again, uint64_t wall_ms)
{
    AUTO(versions_release) struct versions vs = {0};
    enum choice choice = LEFT;
    struct ix_local here;
    int r = index_local_get(e->c.index, l->path, &here);
    if (r < 0)
        return r == ERR_NOTFOUND ? 0 : r;
    for (size_t i = 0; i < live; i++)
        if (engine_elsewhere(e, l[i].stream, l[i].seq))
            return 0;
    while (live < n && l[live].id != here.entry)
        live++;
    if (live == n)
        return 0;
    r = versions_load(e, l->path, &vs);
    if (r == 0)
        r = choose_one(e, &l[live], &vs, &choice);
    return r == 0 && choice == AGAIN ? sign_again(e, &l[live], own, again, wall_ms) : r;
}

/* The least first, so that among versions of one moment the same one wins as before. */
static int save_live(struct engine *e, const struct lost_entry *l, size_t live, size_t n, enum renewal again, uint64_t wall_ms)
{
    AUTO(dots_release) struct dots own = {0};
    AUTOFREE enum choice *choice = xcalloc(live, sizeof *choice);
    bool saved = false;
    int r = engine_own_heads(e, l->path, &own);
    if (r == 0 && again == AGAIN_OVER)
        r = engine_heads_of(e, l->path, engine_stream_sid(e, l->stream), &own);
    if (r == 0)
        r = choose(e, l, live, choice, wall_ms);
    for (size_t i = live; r == 0 && i > 0; i--) {
        saved |= choice[i - 1] != LEFT;
        if (choice[i - 1] == AGAIN)
            r = sign_again(e, &l[i - 1], &own, again, wall_ms);
    }
    return r == 0 && !saved && may_write(e) ? save_shown(e, l, live, n, &own, again, wall_ms) : r;
}

static int save_nothing(struct engine *e, const struct lost_entry *l, size_t live, uint64_t wall_ms)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < live; i++)
        r = leave_to_history(e, &l[i], wall_ms);
    return r;
}

static int save_path(struct engine *e, const struct lost_entry *l, size_t n, enum renewal again, uint64_t wall_ms)
{
    size_t live = 0;
    while (live < n && l[live].live)
        live++;
    int r = 0;
    if (live)
        r = again ? save_live(e, l, live, n, again, wall_ms) : save_nothing(e, l, live, wall_ms);
    return r == 0 ? state_update(e, l->path) : r;
}

/* Of a device only so many snapshots are read: those of another one must not take the room of its own. */
static int leave_room(struct engine *e, const struct id *dev, struct lost *lost)
{
    size_t room, snapshots = 0;
    int r = snapshots_room(e, dev, &room);
    for (size_t i = 0; r == 0 && i < lost->n; i++)
        if (lost->v[i].live && lost->v[i].kind == KIND_SNAPSHOT)
            lost->v[i].live = snapshots++ < room;
    return r;
}

/* What a device says of itself nobody else can sign. */
static void leave_notes(struct lost *lost)
{
    for (size_t i = 0; i < lost->n; i++)
        if (lost->v[i].kind == KIND_NOTE)
            lost->v[i].live = false;
}

static int save_all(struct engine *e, const struct id *dev, struct lost *lost, enum renewal again, uint64_t wall_ms)
{
    int r = again ? leave_room(e, dev, lost) : 0;
    if (!engine_is_own(e, dev))
        leave_notes(lost);
    if (lost->n)
        qsort(lost->v, lost->n, sizeof *lost->v, by_path_and_rank);
    for (size_t i = 0, next; r == 0 && i < lost->n; i = next) {
        for (next = i; next < lost->n && lost->v[next].path == lost->v[i].path; next++)
            ;
        r = save_path(e, &lost->v[i], next - i, again, wall_ms);
    }
    return r;
}

/* ---- the end ---- */

static int cut_off(struct engine *e, struct stream *s, uint64_t end, struct lost *lost)
{
    AUTO(tip_release) struct tip tip = {.found = false};
    int r = fork_header_at(e, s, end, &tip);
    if (r == 0)
        r = index_entry_each_of_stream(e->c.index, s->row.id, end + 1, UINT64_MAX, note, lost);
    if (r < 0)
        return r;
    s->row.known = end;
    s->row.tip = tip.found ? tip.hash : ID_NONE;
    for (size_t i = 0; r == 0 && i < lost->n; i++)
        if (lost->v[i].live)
            r = state_withdraw(e, lost->v[i].id);
    return r == 0 ? index_stream_set(e->c.index, &s->row) : r;
}

int withdraw_beyond(struct engine *e, struct stream *s, uint64_t end, enum renewal again, uint64_t wall_ms)
{
    struct lost lost = {0};
    int r = cut_off(e, s, end, &lost);
    if (r == 0)
        r = save_all(e, &s->row.dev, &lost, again, wall_ms);
    free(lost.v);
    return r;
}

/* ---- two histories of which the other one counts ---- */

static int any_header(void *arg, const struct ix_header *h)
{
    *(struct id *)arg = id_hash(h->rec.p, h->rec.len);
    return 1;
}

/* Under an incarnation that nobody has: by the hash of its first header, so that there is room for any number of them. Nothing of it ever
 * counts, as its headers name another incarnation; it is there to be read. */
int withdrawn_make_way(struct engine *e, struct stream *s)
{
    struct id first;
    struct stream *apart;
    int r = index_header_each(e->c.index, s->row.id, s->row.known + 1, UINT64_MAX, any_header, &first);
    if (r <= 0)
        return r;
    struct id dev = s->row.dev;
    r = engine_stream_add(e, &dev, first.b, &apart);
    return r < 0 ? r : index_stream_apart(e->c.index, s->row.id, s->row.known, apart->row.id);
}

int withdrawn_same(struct engine *e, int64_t entry, const struct entry *seen, bool *same)
{
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    AUTO(entry_release) struct entry was = {0};
    struct ix_entry row;
    *same = false;
    int r = index_entry_get(e->c.index, entry, &row, NULL);
    if (r < 0 || row.stream == e->own || row.seq <= engine_stream(e, row.stream)->row.known)
        return r == ERR_NOTFOUND ? 0 : r;
    r = engine_entry(e, entry, &raw, &was, &row);
    *same = r == 0 && entry_same(&was, seen);
    return r;
}
