#include "node/lost.h"

#include <string.h>
#include <unistd.h>

#include "node/epoch.h"
#include "node/file.h"

#define LOST_BYTES (64u << 20)       /* more than a control log can have */

/* The blobs of the file, one behind the other, and how many; none when there is no file. */
static int load(const struct lost *l, struct buf *blobs, uint32_t *count)
{
    AUTO(buf_release) struct buf file = BUF_INIT(LOST_BYTES);
    *count = 0;
    int r = file_read(l->path, false, &file, NULL);
    if (r == ERR_NOTFOUND)
        return 0;
    if (r < 0)
        return r;
    struct mp m = mp_reader(file.data, file.len);
    bool sound = mp_check(file.data, file.len) == 0;
    *count = sound ? mp_array(&m, LIMIT_OBJECTS) : 0;
    buf_add(blobs, m.p, (size_t)(m.end - m.p));
    if (sound && !m.failed)
        return 0;
    return err_set(ERR_CORRUPT, "%s: damaged, and no other side of the group can be joined before it is moved away: do what its user did again", l->path);
}

int lost_keep(const struct lost *l, uint64_t from)
{
    AUTO(buf_release) struct buf blobs = BUF_INIT(LOST_BYTES), file = BUF_INIT(LOST_BYTES);
    uint32_t count = 0;
    struct bytes blob;
    int r = load(l, &blobs, &count);
    if (r < 0)
        return r;
    for (uint64_t n = from; control_record(l->control, n, &blob) == 0; n++) {
        buf_add(&blobs, blob.p, blob.len);
        count++;
    }
    mp_put_array(&file, count);
    buf_add(&file, blobs.data, blobs.len);
    if (!buf_ok(&file))
        return err_set(ERR_FULL, "%s: too long", l->path);
    return file_replace(l->path, file.data, file.len, 0600);
}

/* ---- signing again ---- */

static bool undoes(const struct ctl_op *later, const struct ctl_op *op, const struct card *added)
{
    if (op->type == OP_REQUIRE)
        return later->type == OP_CANCEL && memcmp(later->require_id, op->require_id, sizeof op->require_id) == 0;
    return later->type == OP_REVOKE && id_eq(&later->dev, &added->dev);
}

/* Whether what follows in the chain that lost revokes the device that `op` adds, or cancels what it requires: then it is not to come back. */
static bool undone_later(const struct ctl_op *op, struct mp blobs)
{
    struct card card;
    struct ctl c;
    if (op->type != OP_REQUIRE && (op->type != OP_ADD || card_decode(op->card.p, op->card.len, &card) < 0))
        return op->type == OP_ADD;
    while (mp_peek(&blobs) != MP_END) {
        struct bytes blob = mp_skip(&blobs);
        if (ctl_decode(blob.p, blob.len, &c) < 0)
            return true;
        struct mp m = ctl_ops(&c);
        for (uint32_t i = 0; i < c.nops; i++) {
            struct ctl_op later;
            ctl_op_next(&m, &later);
            if (undoes(&later, op, &card))
                return true;
        }
    }
    return false;
}

/* Refused by a rule it is for good, whatever the rule calls it; what fails after that is the disk. */
static int append(const struct lost *l, const struct buf *record)
{
    AUTO(group_release) struct group after = {0};
    struct ctl c;
    group_copy(&after, control_group(l->control));
    int r = ctl_decode(record->data, record->len, &c);
    if (r == 0)
        r = group_apply(&after, &c);
    if (r < 0) {
        AUTOFREE char *why = xstrdup(err_text());
        return err_set(ERR_DENIED, "%s", why);
    }
    return control_append(l->control, record->data, record->len);
}

static int sign(const struct lost *l, const struct ctl_op *op, uint64_t now_ms)
{
    const struct group *g = control_group(l->control);
    AUTO(buf_release) struct buf record = BUF_INIT(LIMIT_CTL_BYTES);
    struct ctl c = {.group = g->id, .prev = g->ctl_hash, .signer = l->keys->dev, .n = g->ctl_n + 1, .ts_ms = now_ms};
    struct ctl_op again = *op;
    uint8_t sealed[SEALED_KEYS];
    struct card card;
    if (l->group_keys && op->type == OP_ADD && card_decode(op->card.p, op->card.len, &card) == 0) {
        epoch_seal(l->group_keys->k_epoch, l->group_keys->epoch, card.tr_pk, sealed);
        again.sealed = (struct bytes){sealed, sizeof sealed};
    }
    int r = ctl_encode(&record, &c, &again, 1, l->keys);
    return r < 0 ? r : append(l, &record);
}

static const char *why_over(enum ctl_op_type type)
{
    switch (type) {
    case OP_REQUIRE: return "it was cancelled again";
    case OP_CANCEL: return "what it cancels is not required";
    case OP_RECOVERY: return "its phrase counts no more: make a new one with `lanyard device recovery new`";
    default: return "its device was revoked meanwhile, or is no member";
    }
}

/* 1: signed again. */
static int settle_op(const struct lost *l, const struct ctl *c, const struct ctl_op *op, const struct mp *rest, uint64_t now_ms)
{
    const struct group *g = control_group(l->control);
    const struct member *signer = group_find(g, &c->signer);
    bool may = member_may_admin(signer), own = id_eq(&c->signer, &l->keys->dev);
    enum op_now now = group_op_now(g, op);
    if (now == OP_IS_OPEN && undone_later(op, *rest))
        now = OP_IS_OVER;
    if (now == OP_IS_SO || (may && !own))
        return 0;
    int r = ERR_DENIED;
    if (!may)
        (void)err_set(r, "its signer may not sign it again");
    else if (now == OP_IS_OVER)
        (void)err_set(r, "%s", why_over(op->type));
    else
        r = sign(l, op, now_ms);
    if (r == ERR_IO || r == ERR_FULL)
        return r;
    if (r < 0)
        l->report(l->arg, c, op, err_text());
    return r == 0;
}

static int settle(const struct lost *l, const struct bytes *blob, const struct mp *rest, uint64_t now_ms)
{
    struct ctl c;
    struct id ours;
    int r = ctl_decode(blob->p, blob->len, &c), signedn = 0;
    if (r < 0)
        return r;
    if (control_hash(l->control, c.n, &ours) == 0 && id_eq(&ours, &c.hash))
        return 0;                        /* the chain was not switched after all, or back again */
    struct mp m = ctl_ops(&c);
    for (uint32_t i = 0; r >= 0 && i < c.nops; i++) {
        struct ctl_op op;
        ctl_op_next(&m, &op);
        r = settle_op(l, &c, &op, rest, now_ms);
        signedn += r > 0;
    }
    return r < 0 ? r : signedn;
}

int lost_issue(const struct lost *l, uint64_t now_ms)
{
    AUTO(buf_release) struct buf blobs = BUF_INIT(LOST_BYTES);
    uint32_t count = 0;
    int r = load(l, &blobs, &count), signedn = 0;
    struct mp m = mp_reader(blobs.data, blobs.len);
    for (uint32_t i = 0; r >= 0 && i < count; i++) {
        struct bytes blob = mp_skip(&m);
        r = settle(l, &blob, &m, now_ms);
        signedn += r > 0 ? r : 0;
    }
    if (r == ERR_IO || r == ERR_FULL)
        return r;
    if (count)
        (void)unlink(l->path);
    return r < 0 ? r : signedn;
}
