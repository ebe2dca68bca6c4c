/* Receipts: who has reached a required version, for those who were not there. `export` asks the node; `verify` needs nothing but the file. */
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/link.h"
#include "cli/require.h"
#include "cli/save.h"
#include "cli/when.h"
#include "proto/receipt.h"

#define PIECE (64u * 1024)

/* ---- export ---- */

static int write_reply(void *arg, FILE *to)
{
    const struct bytes *file = arg;
    return fwrite(file->p, 1, file->len, to) == file->len ? 0 : failed(err_set(ERR_IO, "writing the receipts: %m"));
}

int require_export(struct cli *c, const struct args *a)
{
    AUTO(request_release) struct request q = request_new("require");
    AUTO(link_close) struct link l = LINK_INIT;
    struct ctl_reply r;
    const char *name = args_word(a, a->words - 1);
    if (a->words < 2)
        return usage_error("require export: the file is missing: usage: lanyard require export [ID] FILE");
    request_str(&q, "op", "export");
    request_str(&q, "id", a->words > 2 ? args_word(a, 1) : NULL);
    int code = link_ask(&l, c->home, &q, &r);
    if (code)
        return code;
    struct mp m = mp_reader(r.value.p, r.value.len);
    struct bytes file = mp_bin(&m, LIMIT_CTL_REPLY);
    return save_file(name, write_reply, &file);
}

/* ---- verify ---- */

static int load(const char *name, struct buf *data)
{
    FILE *f = fopen(name, "re");
    if (!f)
        return err_set(ERR_IO, "%s: %m", name);
    for (size_t n = 1; n > 0 && buf_room(data, PIECE);) {
        data->len -= PIECE;
        n = fread(data->data + data->len, 1, PIECE, f);
        data->len += n;
    }
    int r = ferror(f) ? err_set(ERR_IO, "%s: %m", name) : 0;
    if (r == 0 && !buf_ok(data))
        r = err_set(ERR_BAD, "%s: longer than a file of receipts can be", name);
    fclose(f);
    return r;
}

static void put_text(struct buf *b, const char *key, const char *v)
{
    mp_put_str(b, key);
    if (v)
        mp_put_str(b, v);
    else
        mp_put_nil(b);
}

static void put_time(struct buf *b, const char *key, uint64_t ms)
{
    char text[WHEN_TEXT];
    put_text(b, key, ms ? when_text((int64_t)ms, text) : NULL);
}

static void put_facts(struct buf *b, const struct receipts *r)
{
    const struct required *q = r->what->what;
    const struct member *by = group_find(&r->group, &q->by);
    char group[ID_HEX], id[2 * sizeof q->id + 1], signer[ID_HEX];
    for (size_t i = 0; i < sizeof q->id; i++)
        snprintf(id + 2 * i, 3, "%02x", q->id[i]);
    put_text(b, "group", id_hex(&r->group.id, group));
    put_text(b, "id", id);
    put_text(b, "by", by ? by->card.name : id_hex(&q->by, signer));
    put_text(b, "message", q->message);
    put_time(b, "since", q->ts_ms);
    put_time(b, "until", q->until_ms);
    put_text(b, "mode", require_mode_name(q->mode));
    put_time(b, "cancelled", r->what->cancelled_ms);
    put_time(b, "as_of", r->log_ms);
}

static void put_device(struct buf *b, const struct receipts *r, const struct member *m)
{
    const struct receipt *of = receipts_find(r, &m->card.dev);
    char id[ID_HEX];
    mp_put_map(b, 6);
    put_text(b, "name", m->card.name);
    put_text(b, "id", id_hex(&m->card.dev, id));
    put_text(b, "state", of ? "reached" : "unknown");
    put_time(b, "since", of ? of->since_ms : 0);
    put_time(b, "signed", of ? of->signed_ms : 0);
    mp_put_str(b, "partial");
    mp_put_bool(b, of && of->partial);
}

/* Those of whom it is required, and those who have left the group since they signed. */
static bool counts(const struct receipts *r, const struct member *m)
{
    return receipts_find(r, &m->card.dev) || (!m->revoked && required_is_for(r->what->what, &m->card.dev));
}

static void put_all(struct buf *b, const struct receipts *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->group.nmember; i++)
        n += counts(r, &r->group.member[i]);
    mp_put_map(b, 10);
    put_facts(b, r);
    mp_put_str(b, "devices");
    mp_put_array(b, n);
    for (size_t i = 0; i < r->group.nmember; i++)
        if (counts(r, &r->group.member[i]))
            put_device(b, r, &r->group.member[i]);
}

int require_verify(struct cli *c, const struct args *a)
{
    AUTO(buf_release) struct buf data = BUF_INIT(LIMIT_RECEIPTS + 2 * PIECE), b = BUF_INIT(LIMIT_CTL_REPLY);
    AUTO(receipts_release) struct receipts r = { 0 };
    if (a->words != 2)
        return usage_error("require verify: usage: lanyard require verify FILE");
    int code = keys_init();
    if (code == 0)
        code = load(args_word(a, 1), &data);
    if (code < 0)
        return failed(code);
    if ((code = receipts_read(data.data, data.len, &r)) < 0)
        return failed(err_prefix(code, "%s: proves nothing", args_word(a, 1)));
    put_all(&b, &r);
    require_show_receipts(c, (struct bytes){ b.data, b.len }, args_has(a, "csv"));
    return 0;
}
