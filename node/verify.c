#include "node/verify.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/merkle.h"
#include "proto/path.h"

enum { STEP = 4096, ITEMS = 2 * LIMIT_CS_COUNT };     /* entries a step */

struct verify {
    struct control *control;
    struct index *ix;
    struct verify_result result;
    struct ix_stream *stream; size_t n, at;
    struct control_check *check;         /* NULL: not begun */
    bool checked;                        /* the control log has been looked at */
    uint64_t next; struct id prev;       /* of the stream: where the next header begins, and what it follows */
    bool linked;                         /* prev is known */
    struct header h;                     /* the one that is looked at; h.count entries from h.first on */
    struct merkle_item *item; size_t nitem;
    uint64_t looked;                     /* in this step */
};

/* ---- findings ---- */

static void fault(struct verify *v, const char *where, const char *what)
{
    AUTO(buf_release) struct buf b = BUF_INIT(4096);
    struct verify_result *r = &v->result;
    if (r->faults++ >= VERIFY_FAULTS)
        return;
    buf_addf(&b, "%s: %s", where, what);
    buf_add(&b, "", 1);
    r->fault[r->faults - 1] = xstrdup(buf_ok(&b) ? (const char *)b.data : where);
}

static const char *name_of(const struct verify *v, char hex[static ID_HEX])
{
    const struct id *dev = &v->stream[v->at].dev;
    const struct member *m = group_find(control_group(v->control), dev);
    return m ? m->card.name : id_hex(dev, hex);
}

static void stream_fault(struct verify *v, uint64_t first, uint64_t last, const char *what)
{
    char where[256], hex[ID_HEX], sid[SID_HEX];
    sid_hex(&v->stream[v->at].sid, sid);
    int n = snprintf(where, sizeof where, "%s, %.16s-%" PRIu64, name_of(v, hex), sid, first);
    if (last > first)
        snprintf(where + n, sizeof where - (size_t)n, " to %" PRIu64, last);
    fault(v, where, what);
}

static void set_fault(struct verify *v, const char *what)
{
    stream_fault(v, v->h.first, v->h.first + v->h.count - 1, what);
}

static void entry_fault(struct verify *v, uint64_t seq, const char *what) { stream_fault(v, seq, seq, what); }

/* ---- entries ---- */

static void add_item(struct verify *v, uint64_t first, uint32_t count, const struct id *hash)
{
    if (v->nitem < ITEMS)
        v->item[v->nitem++] = (struct merkle_item){(uint32_t)(first - v->h.first), count, *hash};
}

/* The columns that the index looks things up by, against what was signed. */
static int same_columns(struct verify *v, const struct ix_entry *row, const struct entry *ent, bool *same)
{
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 1);
    const struct id root = ent->content.type == CONTENT_NONE ? ID_NONE : ent->content.root;
    int r = index_path_get(v->ix, row->path, &name, NULL);
    *same = r == 0 && name.len == ent->path.len && memcmp(name.data, ent->path.p, name.len) == 0 && row->kind == ent->kind &&
            row->hlc == ent->v.hlc && row->size == ent->size && id_eq(&row->root, &root);
    return r == ERR_NOTFOUND ? 0 : r;
}

static int take_entry(void *arg, const struct ix_entry *row)
{
    struct verify *v = arg;
    AUTO(entry_release) struct entry ent = {0};
    struct id leaf = merkle_leaf(row->raw.p, row->raw.len);
    bool same = true;
    add_item(v, row->seq, 1, &leaf);
    v->result.entries++;
    int r = entry_decode(row->raw.p, row->raw.len, &ent);
    if (r == 0)
        r = entry_place(&ent, &v->h, (uint32_t)(row->seq - v->h.first));
    if (r < 0) {
        AUTOFREE char *why = xstrdup(err_text());
        entry_fault(v, row->seq, why);
        return 0;
    }
    r = same_columns(v, row, &ent, &same);
    if (!same)
        entry_fault(v, row->seq, "the index says something else of it than was signed");
    if (ent.kind == KIND_NOTE && !row->live)
        entry_fault(v, row->seq, "the index hides a note, and nothing ends notes");
    return r;
}

static int take_run(void *arg, const struct ix_pruned *p)
{
    struct verify *v = arg;
    if (p->first >= v->h.first && p->first + p->count <= v->h.first + v->h.count)
        add_item(v, p->first, p->count, &p->hash);
    v->result.forgotten += p->count;
    return 0;
}

static int by_first(const void *a, const void *b)
{
    const struct merkle_item *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* The first number that is neither there nor forgotten, or is there twice; 0: none. */
static uint64_t first_gap(const struct verify *v)
{
    uint32_t next = 0;
    for (size_t i = 0; i < v->nitem && v->item[i].first == next; i++)
        next += v->item[i].count;
    return next == v->h.count ? 0 : v->h.first + next;
}

static int check_entries(struct verify *v)
{
    uint64_t first = v->h.first, last = first + v->h.count - 1, gap;
    struct id root;
    v->nitem = 0;
    int r = index_entry_each_of_stream(v->ix, v->stream[v->at].id, first, last, take_entry, v);
    if (r == 0)
        r = index_pruned_each(v->ix, v->stream[v->at].id, first, last, take_run, v);
    if (r < 0)
        return r;
    if (v->nitem)
        qsort(v->item, v->nitem, sizeof *v->item, by_first);
    if ((gap = first_gap(v)) != 0)
        entry_fault(v, gap, "is missing");
    else if (merkle_root_pruned(v->item, v->nitem, v->h.count, &root) < 0 || !id_eq(&root, &v->h.root))
        set_fault(v, "the entries are not those that were signed");
    return 0;
}

/* ---- headers ---- */

static const char *wrong_header(const struct verify *v, const struct ix_header *row)
{
    const struct ix_stream *s = &v->stream[v->at];
    const struct header *h = &v->h;
    if (!id_eq(&h->group, &control_group(v->control)->id) || !sid_eq(&h->sid, &s->sid) || h->first != row->first || h->count != row->count)
        return "the change set belongs somewhere else";
    if (!group_find(control_group(v->control), &h->dev))
        return "signed by a device that never was a member";
    if (v->linked && !id_eq(&h->prev, &v->prev))
        return "does not follow the change set before it";
    return NULL;
}

static int check_header(void *arg, const struct ix_header *row)
{
    struct verify *v = arg;
    const struct ix_stream *s = &v->stream[v->at];
    uint64_t end = row->first + row->count;
    if (row->first > v->next)
        stream_fault(v, v->next, row->first - 1, "the change sets are missing");
    v->linked &= row->first == v->next;
    int r = header_decode(row->rec.p, row->rec.len, row->sig, &v->h);
    AUTOFREE char *why = r < 0 ? xstrdup(err_text()) : NULL;
    const char *wrong = r < 0 ? why : wrong_header(v, row);
    v->h.first = row->first;
    v->h.count = row->count;
    v->prev = id_hash(row->rec.p, row->rec.len);
    v->linked = true;
    if (!wrong && end - 1 == s->known && !id_eq(&v->prev, &s->tip))
        wrong = "is not the last change set that was known";
    if (wrong)
        set_fault(v, wrong);
    r = wrong ? 0 : check_entries(v);
    v->next = end;
    v->result.sets++;
    v->looked += row->count;
    return r < 0 ? r : v->looked >= STEP;
}

static int any_header(void *arg, const struct ix_header *row) { (void)arg, (void)row; return 1; }

static int take_unsigned(void *arg, const struct ix_entry *row)
{
    entry_fault(arg, row->seq, "no change set has it");
    return 1;
}

/* What was withdrawn lies behind the last number that is known, and has its headers. Without any, it was put there by somebody else. */
static int check_beyond(struct verify *v)
{
    const struct ix_stream *s = &v->stream[v->at];
    int r = index_header_each(v->ix, s->id, s->known + 1, UINT64_MAX, any_header, v);
    if (r == 0)
        r = index_entry_each_of_stream(v->ix, s->id, s->known + 1, UINT64_MAX, take_unsigned, v);
    return r < 0 ? r : 0;
}

/* 1: there is more of it. */
static int check_stream(struct verify *v)
{
    const struct ix_stream *s = &v->stream[v->at];
    uint64_t before = v->next;
    int r = s->known >= v->next ? index_header_each(v->ix, s->id, v->next, s->known, check_header, v) : 0;
    if (r > 0 && v->next > before && v->next <= s->known)
        return 1;
    if (r >= 0 && v->next <= s->known)
        stream_fault(v, v->next, s->known, "the change sets are missing");
    return r < 0 ? r : check_beyond(v);
}

/* ---- all ---- */

static int note_stream(void *arg, const struct ix_stream *s)
{
    struct verify *v = arg;
    v->stream = xrealloc(v->stream, v->n + 1, sizeof *v->stream);
    v->stream[v->n++] = *s;
    return 0;
}

/* A step of it. */
static void check_control(struct verify *v)
{
    bool more = false;
    int r = v->check ? 0 : control_check_new(v->control, &v->check);
    if (r == 0)
        r = control_check_step(v->check, &more);
    if (r < 0) {
        AUTOFREE char *why = xstrdup(err_text());
        fault(v, "the group's record", why);
    }
    v->checked = !more;
}

static void begin_stream(struct verify *v)
{
    v->next = 1;
    v->prev = ID_NONE;
    v->linked = true;
}

int verify_new(struct control *control, struct index *ix, struct verify **out)
{
    struct verify *v = xcalloc(1, sizeof *v);
    *v = (struct verify){.control = control, .ix = ix, .item = xcalloc(ITEMS, sizeof *v->item)};
    v->result.records = control_group(control)->ctl_n + 1;
    begin_stream(v);
    int r = index_stream_each(ix, note_stream, v);
    if (r < 0)
        verify_free(&v);
    *out = v;
    return r;
}

int verify_step(struct verify *v, bool *more)
{
    v->looked = 0;
    if (!v->checked) {
        check_control(v);
        *more = !v->checked || v->n > 0;
        return 0;
    }
    while (v->at < v->n && v->looked < STEP) {
        int r = check_stream(v);
        if (r < 0)
            return r;
        if (r > 0)
            break;
        v->at++;
        v->result.streams++;
        v->looked++;
        begin_stream(v);
    }
    *more = v->at < v->n;
    return 0;
}

const struct verify_result *verify_result(const struct verify *v) { return &v->result; }

void verify_free(struct verify **pv)
{
    struct verify *v = *pv;
    if (!v)
        return;
    for (size_t i = 0; i < VERIFY_FAULTS; i++)
        free(v->result.fault[i]);
    control_check_free(&v->check);
    free(v->stream);
    free(v->item);
    free(v);
    *pv = NULL;
}
