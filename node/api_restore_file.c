/* restore of one file, link or directory: an old version's content becomes the new current one.
 *
 *   content here? else fetch -> job: temp file, folder_apply -> kept version recorded -> the scan makes a version of it -> reply
 *
 * A version that is still a head (it lost a conflict) cannot be made anew like this: the scan would take the file for that head, and the
 * winner would come back over it. Restoring such a one is resolving the conflict in its favour. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/api_priv.h"
#include "node/log.h"
#include "node/note.h"
#include "proto/path.h"
#include "store/database.h"
#include "store/sys.h"

#define RECORD_MS (60u * 1000)
enum { NAME = 64 };

struct restore {
    struct work w;
    char *to; size_t tolen;
    bool elsewhere;                    /* `to` is not the version's own path */
    bool have_local;
    struct ix_local local;             /* of `to`, as the index had it when the change was decided */
    struct id old_root; uint64_t old_size;
    int64_t newest;                    /* greatest entry id of `to` then */
    char tmp[NAME], kept[NAME];
    bool in_use;                       /* that is why it failed */
    struct change change;
    struct database_moved moved;
};

static void restore_end(struct work *w) { free(((struct restore *)w)->to); }

static void reply_restored(struct session *s)
{
    const struct restore *c = s->data;
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REQUEST);
    mp_put_map(&b, 3);
    put_path(&b, "path", c->to, c->tolen);
    put_text(&b, "version", c->w.version);
    put_text(&b, "device", c->w.device);
    session_reply(s, false, &b);
}

static void late_restore(struct session *s)
{
    const struct restore *c = s->data;
    err_set(ERR_TIMEOUT, "%s: is on its way, but not recorded after %u s: see lanyard status", path_show(c->to, c->tolen), RECORD_MS / 1000);
    session_fail(s, EXIT_TIMED_OUT, err_text());
}

/* ---- in the worker ---- */

static int write_inline(const struct bytes *b, int fd)
{
    return sys->pwrite(fd, b->p, b->len, 0) == (ssize_t)b->len ? 0 : err_set(ERR_FULL, "writing a file: %m");
}

static int write_blocks(const struct restore *c, int to)
{
    int from;
    int r = serve_open(c->w.n->folder, &c->w.at, &from);
    if (r < 0)
        return r;
    r = content_copy(from, to, &c->w.list);
    close(from);
    return r;
}

static int stage(struct restore *c)
{
    int fd;
    if (c->w.ent.kind != KIND_FILE)
        return 0;
    int r = folder_tmp_create(c->w.n->folder, c->tmp, c->w.ent.size, &fd);
    if (r < 0)
        return r;
    r = c->w.ent.content.type == CONTENT_BLOCKS ? write_blocks(c, fd) : write_inline(&c->w.ent.content.inline_bytes, fd);
    close(fd);
    return r;
}

/* What was removed and is not recorded as such yet is in nobody's way. */
static int expect(struct restore *c)
{
    struct stamp now;
    int r = folder_stat(c->w.n->folder, c->to, c->tolen, &now);
    if (r < 0)
        return r;
    if (c->elsewhere && now.kind != STAMP_ABSENT)
        return err_set(ERR_EXISTS, "something is there already: choose another name");
    if (c->have_local && now.kind != STAMP_ABSENT)
        c->change.expected = c->local.stamp;
    return 0;
}

static int apply(struct restore *c)
{
    int r = folder_apply(c->w.n->folder, &c->change, 1);
    if (r == 0 && c->change.code < 0)
        r = err_set((enum err)c->change.code, "%s", c->change.text);
    return r;
}

static int make_way(struct restore *c)
{
    const struct node *n = c->w.n;
    if (database_part(n->folder, c->to, c->tolen))
        return err_set(ERR_EXISTS, "it would be taken for a part of the database beside it: restore it to another name");
    return database_make_way(n->folder, c->to, c->tolen, &c->change.expected, c->change.op == CHANGE_FILE ? c->tmp : NULL, c->kept,
                             pool_stopping(n->pool), &c->moved);
}

/* What a program has open is not displaced (it would go on writing to it unseen), and looking again does not help. */
static bool in_use(const struct restore *c)
{
    const struct folder *f = c->w.n->folder;
    struct database d;
    int fd;
    if (database_look(f, c->to, c->tolen, &d) == 0)
        return d.open;
    if (folder_open_file(f, c->to, c->tolen, &fd) < 0)
        return false;
    bool open = folder_quiet(fd) == ERR_AGAIN;
    close(fd);
    return open;
}

static void restore_run(struct job *j)
{
    struct restore *c = (struct restore *)j;
    int r = expect(c);
    if (r == 0)
        r = stage(c);
    if (r == 0)
        r = make_way(c);
    if (r == 0)
        r = apply(c);
    c->w.code = 0;
    if (r == 0)
        return;
    work_failed(&c->w, r);
    c->in_use = r == ERR_CHANGED && in_use(c);
    if (!c->change.was_kept)
        (void)!folder_tmp_remove(c->w.n->folder, c->tmp);
}

/* ---- afterwards ---- */

/* The displaced file is a kept version from now on: of the version that it was, when it was put away as intended. */
static int record_kept(struct node *n, void *arg)
{
    const struct restore *c = arg;
    bool known = c->have_local && !c->local.apart && c->w.code == 0;
    int64_t path = 0;
    int r = index_path_id(n->index, c->to, c->tolen, false, &path);
    if (r == ERR_NOTFOUND)
        r = 0;
    for (unsigned i = 0; r == 0 && i < c->moved.n; i++)
        r = engine_kept(n->engine, path, KEPT_PART, &ID_NONE, 0, c->moved.name[i], loop_wall());
    if (r < 0 || !c->change.was_kept)
        return r;
    return engine_kept(n->engine, path, known ? c->local.entry : 0, known ? &c->old_root : &ID_NONE,
                       known ? c->old_size : c->change.expected.size, c->kept, loop_wall());
}

/* The scan has recorded just what we put there, or something newer that came on top of it. */
static int check_recorded(struct session *s)
{
    const struct restore *c = s->data;
    struct ix_local l;
    int64_t path;
    int r = index_path_id(s->n->index, c->to, c->tolen, false, &path);
    if (r == 0)
        r = index_local_get(s->n->index, path, &l);
    if (r == ERR_NOTFOUND)
        return 0;
    if (r == 0 && (stamp_same(&l.stamp, &c->change.now) || l.entry > c->newest))
        reply_restored(s);
    return r;
}

static void fail_restore(struct restore *c)
{
    const char *path = path_show(c->to, c->tolen);
    if (c->in_use)
        err_set(ERR_CHANGED, "%s: a program on this device has it open for writing: close it there, then try again, or restore to another name",
                path);
    else if (c->w.code == ERR_CHANGED)
        err_set(ERR_CHANGED, "%s: has just been changed here: run lanyard scan, then try again", path);
    else
        err_set(ERR_IO, "%s: cannot be restored: %s", path, c->w.text);
    session_fail(c->w.s, ctl_exit_code(c->w.code), err_text());
}

static void restore_done(struct job *j)
{
    struct restore *c = (struct restore *)j;
    struct node *n = c->w.n;
    if ((c->change.was_kept || c->moved.n) && api_commit(n, record_kept, c) < 0)
        log_error("a kept version is not recorded name=%s why=\"%s\"", c->kept, err_text());
    if (n->scan)
        scan_hint(n->scan, c->to, c->tolen, false);
    if (c->w.code == 0)
        note_put(n, &(struct note){.what = NOTE_STR("restored"), .path = {(const uint8_t *)c->to, c->tolen}, .name = NOTE_STR(c->w.version)});
    if (!work_back(&c->w))
        return;
    if (c->w.code < 0)
        fail_restore(c);
    else if (n->scan && scan_ignored(n->scan, c->to, c->tolen, c->w.ent.kind == KIND_DIR))
        reply_restored(c->w.s);
    else
        session_wait(c->w.s, check_recorded, RECORD_MS, late_restore);
}

/* ---- before ---- */

static int newest_id(void *arg, const struct ix_entry *row)
{
    *(int64_t *)arg = row->id;
    return 1;
}

/* What lies at `to` now, as far as the index knows. */
static int load_local(struct restore *c)
{
    struct index *ix = c->w.n->index;
    struct ix_entry row;
    int64_t path;
    int r = index_path_id(ix, c->to, c->tolen, false, &path);
    if (r == ERR_NOTFOUND)
        return 0;
    if (r == 0)
        r = index_entry_each_of_path(ix, path, newest_id, &c->newest);
    if (r >= 0)
        r = index_local_get(ix, path, &c->local);
    c->have_local = r == 0;
    if (r == 0 && (r = index_entry_get(ix, c->local.entry, &row, NULL)) == 0) {
        c->old_root = row.root;
        c->old_size = row.size;
    }
    return r == ERR_NOTFOUND ? 0 : r;
}

static enum change_op op_of(enum kind k)
{
    return k == KIND_DIR ? CHANGE_DIR : k == KIND_SYMLINK ? CHANGE_SYMLINK : CHANGE_FILE;
}

/* A temp file named "f-" is removed after a crash, and its name is never one of the pull's. */
static int restore_go(struct work *w)
{
    struct restore *c = (struct restore *)w;
    int r = load_local(c);
    if (r < 0)
        return r;
    unsigned long long now = loop_wall();
    snprintf(c->tmp, sizeof c->tmp, "f-r%llx-%llx", (unsigned long long)w->row.id, now);
    snprintf(c->kept, sizeof c->kept, "k-%llx-r%llx", (unsigned long long)c->local.entry, now);
    c->change = (struct change){.op = op_of(w->ent.kind), .path = c->to, .len = c->tolen, .tmp = c->tmp, .kept = c->kept,
                                .mode = w->ent.mode, .mtime_ns = w->ent.mtime_ns};
    if (w->ent.kind == KIND_SYMLINK)
        c->change.target = w->ent.content.inline_bytes;
    work_submit(w);
    return 0;
}

static int begin(struct session *s, const struct history *h, const struct past *p, const struct bytes *to)
{
    struct work *w;
    int r = work_new(s, h, p, sizeof(struct restore), &w);
    if (r < 0)
        return r;
    struct restore *c = (struct restore *)w;
    c->tolen = to->len ? to->len : h->len;
    c->to = xcalloc(c->tolen + 1, 1);
    memcpy(c->to, to->len ? (const char *)to->p : h->name, c->tolen);
    c->elsewhere = c->tolen != h->len || memcmp(c->to, h->name, h->len) != 0;
    w->job = (struct job){.run = restore_run, .done = restore_done, .slow = true};
    w->go = restore_go;
    w->end = restore_end;
    return 0;
}

/* ---- a version that is a head ---- */

typedef int author_fn(struct engine *e, int64_t path, int64_t entry, uint64_t wall_ms);

static int write_as(struct node *n, const struct past *p, author_fn *author)
{
    char version[VERSION_ID];
    int r = author(n->engine, p->row.path, p->row.id, loop_wall());
    struct note note = {.what = NOTE_STR("restored"), .path = p->ent.path, .name = NOTE_STR(version_id(n, &p->row, version))};
    return r < 0 ? r : engine_note(n->engine, &note, loop_wall());
}

static int survive(struct node *n, void *arg) { return write_as(n, arg, engine_resolve); }

/* The disk shows it, for what was to take its place has not come, and perhaps never will. */
static int stay(struct node *n, void *arg) { return write_as(n, arg, engine_restore); }

/* The pull has put the winner in place. */
static int check_placed(struct session *s)
{
    const struct restore *c = s->data;
    struct ix_local l;
    int64_t winner;
    int r = index_path_get(s->n->index, c->w.row.path, NULL, &winner);
    if (r == 0)
        r = index_local_get(s->n->index, c->w.row.path, &l);
    if (r == 0 && l.entry == winner)
        reply_restored(s);
    return r == ERR_NOTFOUND ? 0 : r;
}

/* Whether the disk shows that version, untouched. */
static bool on_disk(struct node *n, const struct past *p)
{
    struct ix_local l;
    struct stamp now;
    const char *path = (const char *)p->ent.path.p;
    size_t len = p->ent.path.len;
    return index_local_get(n->index, p->row.path, &l) == 0 && l.entry == p->row.id && folder_stat(n->folder, path, len, &now) == 0 &&
           (!l.apart || database_whole(n->folder, path, len, &now) == 0) && stamp_same(&now, &l.stamp);
}

static const struct past *head_like(const struct history *h, const struct past *p)
{
    const struct past *w = history_winner(h);
    if (entry_same(&w->ent, &p->ent))
        return w;
    for (size_t i = 0; i < h->nv; i++)
        if (h->v[i].row.live && entry_same(&h->v[i].ent, &p->ent))
            return &h->v[i];
    return NULL;
}

static int to_own_path(struct session *s, const struct history *h, const struct past *p)
{
    if (!p->row.id)
        return work_begin(s->data);
    const struct past *head = head_like(h, p);
    if (head && head == history_winner(h) && on_disk(s->n, head)) {
        reply_restored(s);
        return 0;
    }
    bool stays = !head && on_disk(s->n, p);
    if (!stays && (!head || head == history_winner(h)))
        return work_begin(s->data);
    int r = stays ? api_commit(s->n, stay, (void *)(uintptr_t)p) : api_commit(s->n, survive, (void *)(uintptr_t)head);
    if (r == 0)
        session_wait(s, check_placed, RECORD_MS, late_restore);
    return r;
}

/* Refused when the group has something there; what only this disk has is found by the job. */
static int must_be_free(struct node *n, const struct bytes *to)
{
    AUTO(history_release) struct history h = {0};
    int r = history_load(n, to, &h);
    if (r == ERR_NOTFOUND)
        return 0;
    if (r == 0 && history_winner(&h)->ent.kind != KIND_TOMBSTONE)
        return err_set(ERR_EXISTS, "%s: exists already: choose another name", path_show(to->p, to->len));
    return r;
}

int restore_file(struct session *s, const struct history *h, const struct past *p, const struct bytes *to)
{
    int r = begin(s, h, p, to);
    if (r < 0)
        return r;
    if (!((const struct restore *)s->data)->elsewhere)
        return to_own_path(s, h, p);
    r = must_be_free(s->n, to);
    return r == 0 ? work_begin(s->data) : r;
}
