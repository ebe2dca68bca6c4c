#include "proto/msg.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "proto/field.h"
#include "proto/path.h"

#define TREE_MAX (LIMIT_BODY / BLOCK_REF)   /* block references in one body */

/* ---- HELLO, HELLO_OK ---- */

static void hello_read(struct field *f, struct msg *m)
{
    struct msg_hello *h = &m->hello;
    field_id(f, "group", &h->group);
    field_id(f, "dev", &h->dev);
    field_fixed(f, "inst", h->inst, sizeof h->inst);
    h->proto_min = field_u64(f, "proto_min", 1, MSG_PROTO_LIMIT);
    h->proto_max = field_u64(f, "proto_max", 1, MSG_PROTO_LIMIT);
    field_rule(f, h->proto_min <= h->proto_max, "proto_max", "less than proto_min");
    h->wall_ms = field_u64(f, "wall_ms", 0, RECORD_MS_MAX);
    h->ctl_n = field_u64(f, "ctl_n", 0, LIMIT_SEQ);
    field_id(f, "ctl_hash", &h->ctl_hash);
    h->caps = field_u64(f, "caps", 0, RECORD_CAPS_MAX);
    h->port = (uint16_t)field_u64(f, "port", 0, UINT16_MAX);
    field_fixed(f, "nonce", h->nonce, sizeof h->nonce);
    field_fixed(f, "sig", h->sig, sizeof h->sig);
}
static void hello_put(struct buf *b, const struct msg *m)
{
    const struct msg_hello *h = &m->hello;
    mp_put_bin(b, h->group.b, ID_LEN);
    mp_put_bin(b, h->dev.b, ID_LEN);
    mp_put_bin(b, h->inst, sizeof h->inst);
    mp_put_u64(b, h->proto_min);
    mp_put_u64(b, h->proto_max);
    mp_put_u64(b, h->wall_ms);
    mp_put_u64(b, h->ctl_n);
    mp_put_bin(b, h->ctl_hash.b, ID_LEN);
    mp_put_u64(b, h->caps);
    mp_put_u64(b, h->port);
    mp_put_bin(b, h->nonce, sizeof h->nonce);
    mp_put_bin(b, h->sig, sizeof h->sig);
}

static void hello_ok_read(struct field *f, struct msg *m)
{
    struct msg_hello *h = &m->hello;
    hello_read(f, m);
    h->nown = field_list(f, "own", 0, MSG_OWN_STREAMS);
    for (uint32_t i = 0; i < h->nown; i++) {
        field_tuple(f, "own", 2);
        field_fixed(f, "own sid", h->own[i].sid.b, SID_LEN);
        h->own[i].known = field_u64(f, "own known", 1, LIMIT_SEQ);
        field_rule(f, i == 0 || sid_cmp(&h->own[i - 1].sid, &h->own[i].sid) < 0, "own", "not sorted, or one twice");
    }
}
static void hello_ok_put(struct buf *b, const struct msg *m)
{
    const struct msg_hello *h = &m->hello;
    assert(h->nown <= MSG_OWN_STREAMS);
    hello_put(b, m);
    mp_put_array(b, h->nown);
    for (uint32_t i = 0; i < h->nown; i++) {
        mp_put_array(b, 2);
        mp_put_bin(b, h->own[i].sid.b, SID_LEN);
        mp_put_u64(b, h->own[i].known);
    }
}

/* ---- the small ones ---- */

static void none_read(struct field *f, struct msg *m)
{
    (void)f, (void)m;
}
static void none_put(struct buf *b, const struct msg *m)
{
    (void)b, (void)m;
}

static void err_read(struct field *f, struct msg *m)
{
    m->err.code = (enum msg_error)field_u64(f, "code", MSGERR_PROTO, MSGERR_LOCKED);
    m->err.text = field_text(f, "text", 0, LIMIT_TEXT);
    m->err.retry_ms = field_u64(f, "retry_ms", 0, MSG_RETRY_MAX_MS);
}
static void err_put(struct buf *b, const struct msg *m)
{
    mp_put_u64(b, m->err.code);
    mp_put_strn(b, (const char *)m->err.text.p, m->err.text.len);
    mp_put_u64(b, m->err.retry_ms);
}

static void ping_read(struct field *f, struct msg *m)
{
    m->ping.wall_ms = field_u64(f, "wall_ms", 0, RECORD_MS_MAX);
    m->ping.ctr = field_u64(f, "ctr", 0, LIMIT_SEQ);
}
static void ping_put(struct buf *b, const struct msg *m)
{
    mp_put_u64(b, m->ping.wall_ms);
    mp_put_u64(b, m->ping.ctr);
}

static void get_ctl_read(struct field *f, struct msg *m)
{
    m->get_ctl.from = field_u64(f, "from", 1, LIMIT_SEQ);
}
static void get_ctl_put(struct buf *b, const struct msg *m)
{
    mp_put_u64(b, m->get_ctl.from);
}

static void join1_read(struct field *f, struct msg *m)
{
    m->join1.proto_min = field_u64(f, "proto_min", 1, MSG_PROTO_LIMIT);
    m->join1.proto_max = field_u64(f, "proto_max", 1, MSG_PROTO_LIMIT);
    field_rule(f, m->join1.proto_min <= m->join1.proto_max, "proto_max", "less than proto_min");
    struct bytes hint = field_text(f, "hint", 2, 2);
    if (hint.len == 2)
        memcpy(m->join1.hint, hint.p, 2);
    field_fixed(f, "share", m->join1.share, sizeof m->join1.share);
}
static void join1_put(struct buf *b, const struct msg *m)
{
    mp_put_u64(b, m->join1.proto_min);
    mp_put_u64(b, m->join1.proto_max);
    mp_put_strn(b, m->join1.hint, strnlen(m->join1.hint, sizeof m->join1.hint));
    mp_put_bin(b, m->join1.share, sizeof m->join1.share);
}

static void join2_read(struct field *f, struct msg *m)
{
    field_fixed(f, "share", m->join2.share, sizeof m->join2.share);
    field_fixed(f, "tag", m->join2.tag, sizeof m->join2.tag);
}
static void join2_put(struct buf *b, const struct msg *m)
{
    mp_put_bin(b, m->join2.share, sizeof m->join2.share);
    mp_put_bin(b, m->join2.tag, sizeof m->join2.tag);
}

static void join3_read(struct field *f, struct msg *m)
{
    field_fixed(f, "tag", m->join3.tag, sizeof m->join3.tag);
}
static void join3_put(struct buf *b, const struct msg *m)
{
    mp_put_bin(b, m->join3.tag, sizeof m->join3.tag);
}

/* ---- entries ---- */

static void get_cs_read(struct field *f, struct msg *m)
{
    uint32_t n = m->get_cs.n = field_list(f, "ranges", 1, MSG_RANGES);
    for (uint32_t i = 0; i < n; i++) {
        struct msg_range *r = &m->get_cs.range[i], *before = r - 1;
        field_tuple(f, "ranges", 3);
        field_fixed(f, "range sid", r->sid.b, SID_LEN);
        r->from = field_u64(f, "range from", 1, LIMIT_SEQ);
        r->to = field_u64(f, "range to", 1, LIMIT_SEQ);
        field_rule(f, r->from <= r->to, "range to", "less than from");
        int order = i == 0 ? -1 : sid_cmp(&before->sid, &r->sid);
        field_rule(f, order < 0 || (order == 0 && before->to < r->from), "ranges", "not sorted, or overlapping");
    }
    m->get_cs.credit = field_u64(f, "credit", 1, MSG_CREDIT_MAX);
}
static void get_cs_put(struct buf *b, const struct msg *m)
{
    assert(m->get_cs.n <= MSG_RANGES);
    mp_put_array(b, m->get_cs.n);
    for (uint32_t i = 0; i < m->get_cs.n; i++) {
        const struct msg_range *r = &m->get_cs.range[i];
        mp_put_array(b, 3);
        mp_put_bin(b, r->sid.b, SID_LEN);
        mp_put_u64(b, r->from);
        mp_put_u64(b, r->to);
    }
    mp_put_u64(b, m->get_cs.credit);
}

/* A path, or nothing if that is allowed. */
static struct bytes path_read(struct field *f, const char *name, size_t min)
{
    struct bytes p = field_bin(f, name, min, LIMIT_PATH);
    if (p.len > 0)
        field_nested(f, name, path_check(p.p, p.len));
    return f->code ? (struct bytes){ 0 } : p;
}

static bool path_before(const struct bytes *a, const struct bytes *b)
{
    int c = a->len && b->len ? memcmp(a->p, b->p, a->len < b->len ? a->len : b->len) : 0;
    return c < 0 || (c == 0 && a->len < b->len);
}

static void get_live_read(struct field *f, struct msg *m)
{
    m->get_live.from = path_read(f, "from", 0);
    m->get_live.to = path_read(f, "to", 0);
    field_rule(f, m->get_live.to.len == 0 || path_before(&m->get_live.from, &m->get_live.to), "to", "not behind from");
    m->get_live.cursor = field_u64(f, "cursor", 0, LIMIT_SEQ);
}
static void get_live_put(struct buf *b, const struct msg *m)
{
    mp_put_bin(b, m->get_live.from.p, m->get_live.from.len);
    mp_put_bin(b, m->get_live.to.p, m->get_live.to.len);
    mp_put_u64(b, m->get_live.cursor);
}

static void live_head_read(struct field *f, struct msg *m)
{
    m->live.next = field_u64(f, "next", 0, LIMIT_SEQ);
}
static void live_head_put(struct buf *b, const struct msg *m)
{
    mp_put_u64(b, m->live.next);
}

static void get_hist_read(struct field *f, struct msg *m)
{
    m->get_hist.path = path_read(f, "path", 1);
}
static void get_hist_put(struct buf *b, const struct msg *m)
{
    mp_put_bin(b, m->get_hist.path.p, m->get_hist.path.len);
}

/* ---- content ---- */

/* first, count: a run within n blocks. */
static void run_read(struct field *f, uint32_t n, uint32_t *first, uint32_t *count)
{
    *first = (uint32_t)field_u64(f, "first", 0, LIMIT_BLOCKS - 1);
    *count = (uint32_t)field_u64(f, "count", 1, LIMIT_BLOCKS);
    field_rule(f, *first < n && *count <= n - *first, "count", "goes beyond the last block");
}

static void get_tree_read(struct field *f, struct msg *m)
{
    field_id(f, "root", &m->get_tree.root);
    uint32_t n = m->get_tree.nblocks = (uint32_t)field_u64(f, "nblocks", 2, LIMIT_BLOCKS);
    run_read(f, n, &m->get_tree.first, &m->get_tree.count);
    uint32_t first = m->get_tree.first, count = m->get_tree.count;
    field_rule(f, first % LIMIT_TREE_LEAF == 0, "first", "not at the begin of a leaf");
    field_rule(f, count % LIMIT_TREE_LEAF == 0 || first + count == n, "count", "not at the end of a leaf");
    field_rule(f, count <= TREE_MAX, "count", "more than a body can hold");
}
static void get_tree_put(struct buf *b, const struct msg *m)
{
    mp_put_bin(b, m->get_tree.root.b, ID_LEN);
    mp_put_u64(b, m->get_tree.nblocks);
    mp_put_u64(b, m->get_tree.first);
    mp_put_u64(b, m->get_tree.count);
}

static void tree_read(struct field *f, struct msg *m)
{
    field_id(f, "root", &m->tree.root);
    run_read(f, LIMIT_BLOCKS, &m->tree.first, &m->tree.count);
    field_rule(f, m->tree.first % LIMIT_TREE_LEAF == 0, "first", "not at the begin of a leaf");
    field_rule(f, m->tree.count <= TREE_MAX, "count", "more than a body can hold");
}
static void tree_put(struct buf *b, const struct msg *m)
{
    mp_put_bin(b, m->tree.root.b, ID_LEN);
    mp_put_u64(b, m->tree.first);
    mp_put_u64(b, m->tree.count);
}

static void have_read(struct field *f, struct msg *m)
{
    field_id(f, "root", &m->have.root);
    m->have.nblocks = (uint32_t)field_u64(f, "nblocks", 1, LIMIT_BLOCKS);
    run_read(f, m->have.nblocks, &m->have.first, &m->have.count);
}
static void have_put(struct buf *b, const struct msg *m)
{
    mp_put_bin(b, m->have.root.b, ID_LEN);
    mp_put_u64(b, m->have.nblocks);
    mp_put_u64(b, m->have.first);
    mp_put_u64(b, m->have.count);
}

static void have_ok_read(struct field *f, struct msg *m)
{
    field_id(f, "root", &m->have_ok.root);
    run_read(f, LIMIT_BLOCKS, &m->have_ok.first, &m->have_ok.count);
}
static void have_ok_put(struct buf *b, const struct msg *m)
{
    mp_put_bin(b, m->have_ok.root.b, ID_LEN);
    mp_put_u64(b, m->have_ok.first);
    mp_put_u64(b, m->have_ok.count);
}

static void get_blk_read(struct field *f, struct msg *m)
{
    uint32_t n = m->get_blk.n = field_list(f, "wants", 1, LIMIT_GET_BLK);
    const struct msg_blk_want *want = m->get_blk.want;
    for (uint32_t i = 0; i < n; i++) {
        struct msg_blk_want *w = &m->get_blk.want[i];
        field_tuple(f, "wants", 3);
        field_id(f, "want root", &w->root);
        w->idx = (uint32_t)field_u64(f, "want idx", 0, LIMIT_BLOCKS - 1);
        field_id(f, "want id", &w->id);
        for (uint32_t j = 0; j < i; j++) /* asking for one block many times would cost the asked more than the asking */
            field_rule(f, want[j].idx != w->idx || !id_eq(&want[j].root, &w->root), "wants", "a block twice");
    }
}
static void get_blk_put(struct buf *b, const struct msg *m)
{
    assert(m->get_blk.n <= LIMIT_GET_BLK);
    mp_put_array(b, m->get_blk.n);
    for (uint32_t i = 0; i < m->get_blk.n; i++) {
        const struct msg_blk_want *w = &m->get_blk.want[i];
        mp_put_array(b, 3);
        mp_put_bin(b, w->root.b, ID_LEN);
        mp_put_u64(b, w->idx);
        mp_put_bin(b, w->id.b, ID_LEN);
    }
}

static void blk_read(struct field *f, struct msg *m)
{
    uint64_t total = 0;
    uint32_t n = m->blk.n = field_list(f, "items", 1, LIMIT_GET_BLK);
    for (uint32_t i = 0; i < n; i++) {
        struct msg_blk_item *it = &m->blk.item[i];
        field_tuple(f, "items", 3);
        it->item = (uint32_t)field_u64(f, "item", 0, LIMIT_GET_BLK - 1);
        it->status = (uint32_t)field_u64(f, "status", BLK_OK, BLK_BUSY);
        it->len = (uint32_t)field_u64(f, "len", 0, LIMIT_BLOCK);
        field_rule(f, (it->status == BLK_OK) == (it->len > 0), "len", "a block has bytes if its status is OK, and only then");
        field_rule(f, i == 0 || m->blk.item[i - 1].item < it->item, "item", "not ascending");
        total += it->len;
    }
    field_rule(f, total <= LIMIT_BODY, "len", "more in total than a body can hold");
}
static void blk_put(struct buf *b, const struct msg *m)
{
    assert(m->blk.n <= LIMIT_GET_BLK);
    mp_put_array(b, m->blk.n);
    for (uint32_t i = 0; i < m->blk.n; i++) {
        const struct msg_blk_item *it = &m->blk.item[i];
        mp_put_array(b, 3);
        mp_put_u64(b, it->item);
        mp_put_u64(b, it->status);
        mp_put_u64(b, it->len);
    }
}

static void get_vecs_read(struct field *f, struct msg *m)
{
    m->get_vecs.chosen = field_u64(f, "chosen", 0, 1) != 0;
    m->get_vecs.ages = field_u64(f, "ages", 0, 1) != 0;
    m->get_vecs.since = field_u64(f, "since", 0, LIMIT_SEQ);
}
static void get_vecs_put(struct buf *b, const struct msg *m)
{
    mp_put_u64(b, m->get_vecs.chosen);
    mp_put_u64(b, m->get_vecs.ages);
    mp_put_u64(b, m->get_vecs.since);
}

static void vecs_read(struct field *f, struct msg *m)
{
    m->vecs.upto = field_u64(f, "upto", 0, LIMIT_SEQ);
    m->vecs.more = field_u64(f, "more", 0, 1) != 0;
}
static void vecs_put(struct buf *b, const struct msg *m)
{
    mp_put_u64(b, m->vecs.upto);
    mp_put_u64(b, m->vecs.more);
}

/* ---- all of them ---- */

#define HEAD_FIELDS 3u   /* 1, type, req_id */
static const struct msg_kind {
    const char *name;   /* NULL: no such type */
    bool body;
    uint32_t fields;    /* behind HEAD_FIELDS */
    void (*read)(struct field *f, struct msg *m);
    void (*put)(struct buf *b, const struct msg *m);
} kinds[] = {
    [MSG_HELLO]    = { "HELLO",    false, 12, hello_read, hello_put },
    [MSG_HELLO_OK] = { "HELLO_OK", false, 13, hello_ok_read, hello_ok_put },
    [MSG_ERR]      = { "ERR",      false, 3, err_read, err_put },
    [MSG_PING]     = { "PING",     false, 2, ping_read, ping_put },
    [MSG_PONG]     = { "PONG",     false, 2, ping_read, ping_put },
    [MSG_GET_CTL]  = { "GET_CTL",  false, 1, get_ctl_read, get_ctl_put },
    [MSG_CTL]      = { "CTL",      true,  0, none_read, none_put },
    [MSG_GET_VEC]  = { "GET_VEC",  false, 0, none_read, none_put },
    [MSG_VEC]      = { "VEC",      true,  0, none_read, none_put },
    [MSG_GET_CS]   = { "GET_CS",   false, 2, get_cs_read, get_cs_put },
    [MSG_CS]       = { "CS",       true,  0, none_read, none_put },
    [MSG_GET_LIVE] = { "GET_LIVE", false, 3, get_live_read, get_live_put },
    [MSG_LIVE]     = { "LIVE",     true,  1, live_head_read, live_head_put },
    [MSG_GET_TREE] = { "GET_TREE", false, 4, get_tree_read, get_tree_put },
    [MSG_TREE]     = { "TREE",     true,  3, tree_read, tree_put },
    [MSG_HAVE]     = { "HAVE",     false, 4, have_read, have_put },
    [MSG_HAVE_OK]  = { "HAVE_OK",  true,  3, have_ok_read, have_ok_put },
    [MSG_GET_BLK]  = { "GET_BLK",  false, 1, get_blk_read, get_blk_put },
    [MSG_BLK]      = { "BLK",      true,  1, blk_read, blk_put },
    [MSG_PEX]      = { "PEX",      true,  0, none_read, none_put },
    [MSG_FORK]     = { "FORK",     true,  0, none_read, none_put },
    [MSG_GET_VECS] = { "GET_VECS", true,  3, get_vecs_read, get_vecs_put },
    [MSG_VECS]     = { "VECS",     true,  2, vecs_read, vecs_put },
    [MSG_GET_HIST] = { "GET_HIST", false, 1, get_hist_read, get_hist_put },
    [MSG_HIST]     = { "HIST",     true,  0, none_read, none_put },
    [MSG_JOIN1]    = { "JOIN1",    false, 4, join1_read, join1_put },
    [MSG_JOIN2]    = { "JOIN2",    false, 2, join2_read, join2_put },
    [MSG_JOIN3]    = { "JOIN3",    true,  1, join3_read, join3_put },
    [MSG_JOIN4]    = { "JOIN4",    true,  0, none_read, none_put },
};

static const struct msg_kind *kind_of(uint64_t type)
{
    return type < sizeof kinds / sizeof *kinds && kinds[type].name ? &kinds[type] : NULL;
}

const char *msg_name(enum msg_type t)
{
    const struct msg_kind *k = kind_of(t);
    return k ? k->name : "unknown";
}

bool msg_has_body(enum msg_type t)
{
    const struct msg_kind *k = kind_of(t);
    return k && k->body;
}

int msg_decode(const void *head, size_t len, struct msg *out)
{
    struct field f;
    memset(out, 0, sizeof *out);
    field_open_any(&f, "message", head, len, LIMIT_HEAD);
    uint32_t n = field_list(&f, "fields", HEAD_FIELDS, UINT32_MAX);
    field_format(&f, 1);
    uint64_t type = field_u64(&f, "type", 0, UINT64_MAX);
    out->req = field_u64(&f, "req_id", 0, UINT64_MAX);
    const struct msg_kind *k = kind_of(type);
    field_rule(&f, k, "type", "not known here");
    if (f.code)
        return f.code;
    f.rec = k->name;
    out->type = (enum msg_type)type;
    field_rule(&f, n == HEAD_FIELDS + k->fields, "fields", "too many or too few");
    k->read(&f, out);
    return field_done(&f);
}

int msg_encode(struct buf *head, const struct msg *m)
{
    const struct msg_kind *k = kind_of(m->type);
    assert(k);
    buf_clear(head);
    mp_put_array(head, HEAD_FIELDS + k->fields);
    mp_put_u64(head, 1);
    mp_put_u64(head, m->type);
    mp_put_u64(head, m->req);
    k->put(head, m);
    if (!buf_ok(head))
        return err_set(ERR_FULL, "%s: no room for its head", k->name);
    struct msg again;
    int code = msg_decode(head->data, head->len, &again);
    if (code < 0)
        buf_clear(head);
    return code;
}

int msg_body_check(const struct msg *m, size_t len)
{
    const char *name = msg_name(m->type);
    if (len > LIMIT_BODY)
        return err_set(ERR_BAD, "%s: body of %zu bytes, at most %u allowed", name, len, LIMIT_BODY);
    if (!msg_has_body(m->type))
        return len == 0 ? 0 : err_set(ERR_BAD, "%s: a body of %zu bytes where none belongs", name, len);
    size_t want = len;
    if (m->type == MSG_TREE) {
        want = (size_t)m->tree.count * BLOCK_REF;
    } else if (m->type == MSG_HAVE_OK) {
        want = (m->have_ok.count + 7u) / 8;
    } else if (m->type == MSG_BLK) {
        want = 0;
        for (uint32_t i = 0; i < m->blk.n; i++)
            want += m->blk.item[i].len;
    }
    return len == want ? 0 : err_set(ERR_BAD, "%s: body of %zu bytes, its head says %zu", name, len, want);
}
