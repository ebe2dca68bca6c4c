/* Notes: entries that say what the user of a device has done. They supersede nothing and nothing supersedes them, so they are live for ever
 * on every device, and part of what the signature of their change set proves. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/engine_priv.h"
#include "proto/path.h"

/* No two entries have the same number, so no two honest notes have the same name. One that is signed again keeps its own. */
static void name_it(const struct dot *d, char out[static PATH_NOTE_LEN + 1])
{
    uint8_t in[SID_LEN + 8];
    char hex[ID_HEX];
    memcpy(in, d->sid.b, SID_LEN);
    for (int i = 0; i < 8; i++)
        in[SID_LEN + i] = (uint8_t)(d->seq >> (8 * i));
    struct id h = id_hash(in, sizeof in);
    memcpy(out, PATH_NOTES "/", sizeof PATH_NOTES);
    memcpy(out + sizeof PATH_NOTES, id_hex(&h, hex), PATH_NOTE_LEN - sizeof PATH_NOTES);
    out[PATH_NOTE_LEN] = '\0';
}

int engine_note(struct engine *e, const struct note *note, uint64_t wall_ms)
{
    assert(index_in_tx(e->c.index));
    AUTO(buf_release) struct buf content = BUF_INIT(LIMIT_NOTE);
    char path[PATH_NOTE_LEN + 1];
    struct stream *own;
    int64_t at, id;
    if (!may_write(e))
        return 0;
    int r = engine_own_stream(e, &own);
    if (r < 0)
        return r;
    name_it(&(struct dot){own->row.sid, e->lens.n ? e->authored_first + e->lens.n : own->row.known + 1}, path);
    note_encode(&content, note);
    assert(buf_ok(&content));
    struct entry ent = {.kind = KIND_NOTE, .path = {(const uint8_t *)path, PATH_NOTE_LEN}, .size = content.len,
                        .content = {.type = CONTENT_INLINE, .inline_bytes = {content.data, content.len}}};
    ent.content.root = id_hash(content.data, content.len);
    r = index_path_id(e->c.index, path, PATH_NOTE_LEN, true, &at);
    if (r == 0)
        r = author(e, &ent, at, wall_ms, &id);
    return r == 0 ? state_update(e, at) : r;
}

/* ---- all of them ---- */

struct teller { struct engine *e; int (*tell)(void *arg, const struct told *n); void *arg; };

static int tell_path(void *arg, int64_t path, const char *name, size_t len, int64_t winner)
{
    (void)name, (void)len, (void)winner;         /* the index says what wins, and only signatures say what was noted */
    struct teller *t = arg;
    AUTO(versions_release) struct versions vs = {0};
    int r = versions_load(t->e, path, &vs);
    for (size_t i = 0; r == 0 && i < vs.n; i++) {
        const struct vers *v = &vs.v[i];
        struct told n = {.dev = engine_stream_dev(t->e, v->row.stream), .dot = v->ent.v.dot, .hlc = v->row.hlc};
        if (v->row.kind != KIND_NOTE)
            continue;
        r = note_decode(v->ent.content.inline_bytes.p, v->ent.content.inline_bytes.len, &n.note);
        if (r == 0)
            r = t->tell(t->arg, &n);
    }
    return r;
}

int engine_notes(struct engine *e, int (*tell)(void *arg, const struct told *n), void *arg)
{
    struct teller t = {e, tell, arg};
    return index_path_each(e->c.index, PATH_NOTES, strlen(PATH_NOTES), false, tell_path, &t);
}
