/* The jobs that read, and what they found. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/check_priv.h"
#include "proto/path.h"
#include "store/check.h"

enum { LOOKS = 128, VERSION_BLOCKS = 4096 };
#define JOB_BYTES (64u << 20)

static void submit(struct check *k, struct job *job)
{
    k->running = true;
    pool_submit(k->c.pool, job);
}

/* ---- the index ---- */

struct index_job { struct job job; struct check *k; int code; char why[300]; };

static void index_run(struct job *job)
{
    struct index_job *j = (struct index_job *)job;
    j->code = check_index(j->k->c.index_path);
    if (j->code < 0)
        snprintf(j->why, sizeof j->why, "%s", err_text());
}

/* What comes next relies on the index: where that is wrong, so would all of it be. */
static void index_done(struct job *job)
{
    struct index_job *j = (struct index_job *)job;
    struct check *k = j->k;
    k->phase++;
    if (j->code == ERR_CORRUPT) {
        struct check_finding *f = check_add(k, "index", k->c.index_path, strlen(k->c.index_path), j->why);
        f->state = CHECK_LOST;
        check_fail(k, "the index is damaged: stop the node, move index.db, index.db-wal and index.db-shm away and start again; "
                      "the folder and its history will be adopted");
    } else if (j->code < 0) {
        check_fail(k, j->why);
    }
    free(j);
    check_job_done(k);
}

bool check_look_index(struct check *k)
{
    struct index_job *j = xcalloc(1, sizeof *j);
    *j = (struct index_job){.job = {.run = index_run, .done = index_done, .slow = true}, .k = k, .code = ERR_CLOSED};
    submit(k, &j->job);
    return true;
}

/* ---- files: those of the folder, and kept ones ---- */

struct look {
    int64_t id, entry;                     /* path or kept row; the version it should be */
    char *name; size_t len;
    struct stamp stamp;                    /* of the folder */
    struct content_list list;
    int code; char why[160];
};
struct look_job { struct job job; struct check *k; bool kept; struct look v[LOOKS]; size_t n; uint64_t size, bytes; };

static int look_at_file(const struct folder *f, struct look *v, const _Atomic bool *stop, uint64_t *bytes)
{
    struct stamp before, after;
    int fd = -1;
    int r = folder_stat(f, v->name, v->len, &before);
    if (r < 0 || !stamp_same(&before, &v->stamp))
        return 0;                          /* the scan has that */
    r = folder_open_file(f, v->name, v->len, &fd);
    if (r < 0)
        return r == ERR_IO ? r : 0;
    r = check_content(fd, &v->list, stop, bytes);
    close(fd);
    if (r < 0 && (folder_stat(f, v->name, v->len, &after) < 0 || !stamp_same(&after, &v->stamp)))
        return 0;
    return r;
}

static int look_at_kept(const struct folder *f, struct look *v, const _Atomic bool *stop, uint64_t *bytes)
{
    int fd = -1;
    int r = folder_kept_open(f, v->name, &fd);
    if (r < 0)
        return r;
    r = check_content(fd, &v->list, stop, bytes);
    close(fd);
    return r;
}

static void look_run(struct job *job)
{
    struct look_job *j = (struct look_job *)job;
    const struct folder *f = j->k->c.folder;
    for (size_t i = 0; i < j->n; i++) {
        struct look *v = &j->v[i];
        v->code = (j->kept ? look_at_kept : look_at_file)(f, v, &j->k->stop, &j->bytes);
        if (v->code < 0)
            snprintf(v->why, sizeof v->why, "%s", err_text());
    }
}

static void look_found(struct look_job *j, const struct look *v)
{
    struct check *k = j->k;
    if (v->code == 0 || v->code == ERR_CLOSED)
        return;
    struct check_finding *f = check_add(k, j->kept ? "kept" : "file", v->name, v->len, v->why);
    if (k->c.repair && j->kept)
        repair_kept(k, f, v->id, v->entry, &v->list.root, v->code != ERR_NOTFOUND);
    else if (k->c.repair)
        repair_file(k, f, v->id, &v->stamp);
}

static void look_free(struct look_job *j)
{
    for (size_t i = 0; i < j->n; i++) {
        free(j->v[i].name);
        content_list_release(&j->v[i].list);
    }
    free(j);
}

static void look_done(struct job *job)
{
    struct look_job *j = (struct look_job *)job;
    struct check *k = j->k;
    for (size_t i = 0; i < j->n && !k->stopped; i++)
        look_found(j, &j->v[i]);
    *(j->kept ? &k->figures.kept : &k->figures.files) += j->n;
    k->figures.bytes += j->bytes;
    look_free(j);
    check_job_done(k);
}

/* The block list of a content; one block or less has none. */
static bool load_list(struct check *k, const struct id *root, uint64_t size, struct content_list *out)
{
    AUTO(buf_release) struct buf refs = BUF_INIT((size_t)LIMIT_BLOCKS * BLOCK_REF);
    size_t len;
    *out = (struct content_list){.type = CONTENT_BLOCKS, .root = *root, .size = size, .nblocks = 1};
    int r = index_tree_get(k->c.index, root, &refs);
    if (r == ERR_NOTFOUND)
        return true;
    if (r < 0)
        return false;
    out->nblocks = (uint32_t)(refs.len / BLOCK_REF);
    out->refs = buf_steal(&refs, &len);
    return true;
}

static int add_look(struct look_job *j, int64_t id, int64_t entry, const struct id *root, uint64_t size)
{
    struct look *v = &j->v[j->n];
    *v = (struct look){.id = id, .entry = entry};
    if (!load_list(j->k, root, size, &v->list))
        return ERR_IO;
    j->n++;
    j->size += size;
    return j->n == LOOKS || j->size >= JOB_BYTES;
}

static int choose_file(void *arg, const struct ix_local *l)
{
    struct look_job *j = arg;
    struct ix_entry row;
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    j->k->cursor = l->path;
    if (l->stamp.kind != STAMP_FILE || !l->settled || !l->entry || l->apart)
        return 0;
    int r = index_entry_get(j->k->c.index, l->entry, &row, NULL);
    if (r == 0)
        r = index_path_get(j->k->c.index, l->path, &name, NULL);
    if (r < 0 || row.kind != KIND_FILE)
        return r;
    r = add_look(j, l->path, l->entry, &row.root, row.size);
    if (r < 0)
        return r;
    struct look *v = &j->v[j->n - 1];
    v->stamp = l->stamp;
    v->len = name.len;
    v->name = (char *)buf_steal(&name, &v->len);
    return r;
}

static int choose_kept(void *arg, const struct ix_kept *row)
{
    struct look_job *j = arg;
    j->k->cursor = row->id;
    int r = add_look(j, row->id, row->entry, &row->root, row->size);
    if (r < 0)
        return r;
    struct look *v = &j->v[j->n - 1];
    v->name = xstrdup(row->name);
    v->len = strlen(row->name);
    return r;
}

static bool look_at_some(struct check *k, bool kept)
{
    struct look_job *j = xcalloc(1, sizeof *j);
    *j = (struct look_job){.job = {.run = look_run, .done = look_done, .slow = true}, .k = k, .kept = kept};
    int r = kept ? index_kept_files(k->c.index, k->cursor, choose_kept, j) : index_local_after(k->c.index, k->cursor, choose_file, j);
    if (r < 0)
        check_fail(k, err_text());
    if (r < 0 || j->n == 0) {
        look_free(j);
        return false;
    }
    submit(k, &j->job);
    return true;
}

bool check_look_folder(struct check *k) { return look_at_some(k, false); }
bool check_look_kept(struct check *k) { return look_at_some(k, true); }

/* ---- packs ---- */

struct pack_job { struct job job; struct check *k; uint64_t pack; uint64_t *good; size_t n, damaged; int code; char why[200]; uint64_t bytes; };

static int see_record(void *arg, const struct pack_sight *s)
{
    struct pack_job *j = arg;
    j->bytes += s->at.len;
    if (s->code == 0) {
        if (j->n % 256 == 0)
            j->good = xrealloc(j->good, j->n + 256, sizeof *j->good);
        j->good[j->n++] = s->at.off;
    }
    return j->k->stop ? ERR_CLOSED : 0;
}

static void pack_run(struct job *job)
{
    struct pack_job *j = (struct pack_job *)job;
    j->code = pack_scan(folder_packs(j->k->c.folder), j->pack, 0, see_record, j);
    if (j->code < 0)
        snprintf(j->why, sizeof j->why, "%s", err_text());
}

struct bad_pieces { const struct pack_job *j; size_t at; struct ix_piece *v; size_t n; };

/* Both come in order of their offsets. */
static int compare(void *arg, const struct ix_piece *p)
{
    struct bad_pieces *b = arg;
    while (b->at < b->j->n && b->j->good[b->at] < p->at.off)
        b->at++;
    if (b->at < b->j->n && b->j->good[b->at] == p->at.off)
        return 0;
    b->v = xrealloc(b->v, b->n + 1, sizeof *b->v);
    b->v[b->n++] = *p;
    return 0;
}

static void pack_found(struct check *k, const struct pack_job *j, const struct bad_pieces *b)
{
    char name[40], why[300];
    snprintf(name, sizeof name, "p-%08llx", (unsigned long long)j->pack);
    snprintf(why, sizeof why, "%zu record%s cannot be read%s%s", b->n, b->n == 1 ? "" : "s", j->code < 0 ? ": " : "", j->why);
    struct check_finding *f = check_add(k, "pack", name, strlen(name), why);
    for (size_t i = 0; i < b->n; i++)
        if (b->v[i].kind == PACK_BLOCK)
            pathset_put(&k->bad, (const char *)b->v[i].id.b, ID_LEN, 0);
    if (k->c.repair)
        repair_pack(k, f, b->v, b->n);
}

static void pack_done(struct job *job)
{
    struct pack_job *j = (struct pack_job *)job;
    struct check *k = j->k;
    struct bad_pieces b = {.j = j};
    if (j->code != ERR_CLOSED && !k->stopped) {
        if (index_piece_of_pack(k->c.index, j->pack, true, compare, &b) < 0)
            check_fail(k, err_text());
        else if (b.n)
            pack_found(k, j, &b);
    }
    k->figures.packs++;
    k->figures.bytes += j->bytes;
    free(b.v);
    free(j->good);
    free(j);
    check_job_done(k);
}

bool check_look_pack(struct check *k, uint64_t pack)
{
    struct pack_job *j = xcalloc(1, sizeof *j);
    *j = (struct pack_job){.job = {.run = pack_run, .done = pack_done, .slow = true}, .k = k, .pack = pack, .code = ERR_CLOSED};
    submit(k, &j->job);
    return true;
}

/* ---- packed versions: whether each has all its blocks ---- */

static int take_row(void *arg, const struct ix_kept *row)
{
    *(struct ix_kept *)arg = *row;
    return 1;
}

static int is_file(void *arg, const struct ix_kept *row) { (void)arg; return *row->name != '\0'; }

static uint32_t missing_blocks(struct check *k, const struct content_list *c)
{
    uint32_t missing = 0;
    for (uint32_t i = 0; i < c->nblocks; i++) {
        struct block_ref ref = {c->root, 0};
        struct ix_piece p;
        if (c->refs)
            block_ref_get(c->refs + (size_t)i * BLOCK_REF, &ref);
        missing += pathset_get(&k->bad, (const char *)ref.id.b, ID_LEN, NULL) ||
                   index_piece_get(k->c.index, PACK_BLOCK, &ref.id, &p) < 0;
    }
    return missing;
}

static void version_found(struct check *k, const struct ix_kept *row, uint32_t missing)
{
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    char why[100];
    if (!row->path || index_path_get(k->c.index, row->path, &name, NULL) < 0)
        buf_add_str(&name, "(of no known path)");
    snprintf(why, sizeof why, "a packed version of %llu bytes lacks %u block%s", (unsigned long long)row->size, missing, missing == 1 ? "" : "s");
    struct check_finding *f = check_add(k, "version", (const char *)name.data, name.len, why);
    if (k->c.repair)
        repair_version(k, f, row->entry, &row->root);
}

/* One that is also a kept file is sound: that was looked at before, and will be packed. */
static bool look_at_version(struct check *k, const struct ix_kept *row, uint32_t *blocks)
{
    struct content_list c;
    int r = index_kept_by_root(k->c.index, &row->root, is_file, NULL);
    k->cursor = row->id;
    k->figures.versions++;
    if (r != 0)
        return r > 0;
    if (!load_list(k, &row->root, row->size, &c))
        return false;
    uint32_t missing = missing_blocks(k, &c);
    *blocks += c.nblocks;
    content_list_release(&c);
    if (missing)
        version_found(k, row, missing);
    return true;
}

bool check_look_versions(struct check *k)
{
    uint32_t blocks = 0;
    int r = 1;
    while (r == 1 && blocks < VERSION_BLOCKS) {
        struct ix_kept row;
        r = index_kept_in_packs(k->c.index, k->cursor, take_row, &row);
        if (r == 1 && !look_at_version(k, &row, &blocks))
            r = ERR_IO;
    }
    if (r < 0)
        check_fail(k, err_text());
    return r == 1;
}
