/* The power goes while a node writes its index, and the tokens that say whether index, home and folder are of one moment (t_power.h says
 * what may be left); also when a flush had failed some time before, and the node had gone on. Then the index opens and is sound; every entry that had been committed, and so perhaps announced, is there with the
 * same bytes; the node goes on, and no number is used twice. Nobody doubts who this device is, unless the tokens were just being written. */
#include "node/continuity.h"
#include "node/home.h"
#include "node/log.h"
#include "node/loop.h"
#include "store/index_priv.h"
#include "tests/unit/t_power.h"
#include "tests/unit/t_record.h"

enum { RUNS = 2, COMMITS = 5, ENTRIES = 200, MARKS = 100 };
static struct device_keys *owner;
static struct buf card;
static struct home *h;
static struct folder *folder;
static struct index *ix;
static struct engine *e;
static const char *doubt;
static uint64_t wall, ino;

/* ---- what was announced ---- */

struct number { struct sid sid; uint64_t seq; struct id hash; };
static struct number entry[ENTRIES];
static struct { int at; size_t n; } mark[MARKS];               /* from operation `at` on the first n entries are announced */
static struct { int from, to; } renewal[MARKS];
static size_t nentry, nmark, nrenewal;

struct search { const struct sid *sid; int64_t id; };
static int same_stream(void *arg, const struct ix_stream *s)
{
    struct search *q = arg;
    if (sid_eq(&s->sid, q->sid))
        q->id = s->id;
    return 0;
}
/* ID_NONE when it is not there. */
static struct id hash_of(const struct sid *sid, uint64_t seq)
{
    struct search q = { .sid = sid };
    struct ix_entry row;
    AUTO(buf_release) struct buf raw = BUF_INIT(LIMIT_ENTRY);
    OK(index_stream_each(ix, same_stream, &q));
    int r = q.id ? index_entry_at(ix, q.id, seq, &row, &raw) : ERR_NOTFOUND;
    CHECK(r == 0 || r == ERR_NOTFOUND);
    return r == 0 ? id_hash(raw.data, raw.len) : ID_NONE;
}
static void announce(void)
{
    const struct sid *sid = engine_own_sid(e);
    uint64_t from = nentry && sid_eq(&entry[nentry - 1].sid, sid) ? entry[nentry - 1].seq : 0;
    for (uint64_t seq = from + 1; seq <= engine_known_of(e, sid); seq++) {
        CHECK(nentry < ENTRIES && nmark < MARKS);
        entry[nentry++] = (struct number){ *sid, seq, hash_of(sid, seq) };
    }
    mark[nmark].at = power.n;
    mark[nmark++].n = nentry;
}

/* ---- a node ---- */

static int start(void)
{
    int r = home_open(in_temp("home"), &h);
    if (r < 0)
        return r;
    struct engine_config c = { .group = control_group(h->control), .keys = h->keys, .inst = { (uint8_t)++wall } };
    if ((r = folder_open(in_temp("folder"), &c.group->id, &folder)) < 0 || (r = index_open(in_temp("home/index.db"), &c.group->id, true, &ix)) < 0)
        return r;
    c.index = ix;
    if ((r = engine_new(&c, &e)) < 0)
        return r;
    return continuity_check(h, folder, ix, e, &doubt);
}
static void end(bool clean)
{
    engine_free(&e);
    index_close(&ix);
    folder_close(&folder);
    home_close(&h, clean);
}
static void save(unsigned file, size_t len)
{
    char path[20];
    uint8_t bytes[LIMIT_INLINE];
    snprintf(path, sizeof path, "dir/file %u", file);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)t_rand(&power.seed);
    AUTO(content_list_release) struct content_list c = content_list_inline(bytes, len);
    struct stamp st = { .kind = STAMP_FILE, .mode = 0644, .dev = 1, .ino = ++ino, .size = len, .mtime_ns = (int64_t)++wall };
    EQ_I(engine_seen(e, path, strlen(path), &st, &c, true, wall), 1);
}
/* Whether a call may have failed: the flush that was to has. */
static bool may_fail(int r) { return r >= 0 || (power.fail_at && power.flushes >= power.fail_at); }

static int try_commit(uint64_t *seed)
{
    int r = engine_begin(e);
    for (uint64_t n = 1 + t_rand(seed) % 3; r == 0 && n > 0; n--)
        save((unsigned)(t_rand(seed) % 10), 8 + t_rand(seed) % (LIMIT_INLINE - 8));
    if (r == 0)
        r = engine_commit(e, wall);
    if (r < 0 && index_in_tx(ix))
        engine_rollback(e);
    return r;
}
static void commit_some(uint64_t *seed)
{
    int r = try_commit(seed);
    CHECK(may_fail(r));
    if (r < 0)
        OK(try_commit(seed));
    announce();
    if (t_rand(seed) % 3 == 0)
        CHECK(may_fail(index_checkpoint(ix, t_rand(seed) % 2)));
}
static void live(uint64_t *seed)
{
    renewal[nrenewal].from = power.n;
    int r = start();
    CHECK(may_fail(r));
    if (r < 0) {
        end(false);
        OK(start());
    }
    renewal[nrenewal++].to = power.n;
    for (int i = 0; i < COMMITS; i++)
        commit_some(seed);
    renewal[nrenewal].from = power.n;
    CHECK(may_fail(continuity_renew(h, folder, ix, e)));
    renewal[nrenewal++].to = power.n;
    end(true);
}

/* ---- and afterwards ---- */

static bool renewing(int cut)
{
    for (size_t i = 0; i < nrenewal; i++)
        if (cut > renewal[i].from && cut < renewal[i].to)
            return true;
    return false;
}
static void check_sound(int cut)
{
    sqlite3_stmt *st;
    CHECK(sqlite3_prepare_v2(ix->db, "PRAGMA integrity_check", -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW);
    const char *said = (const char *)sqlite3_column_text(st, 0);
    bool sound = strcmp(said, "ok") == 0;
    if (!sound)
        printf("# %s\n", said);
    sqlite3_finalize(st);
    if (!sound)
        T_FAIL("cut at %d of %d: the index is damaged", cut, power.n);
}
static size_t announced(int cut)
{
    size_t n = 0;
    for (size_t i = 0; i < nmark && mark[i].at <= cut; i++)
        n = mark[i].n;
    return n;
}
static void check(int cut)
{
    size_t n = announced(cut);
    if (start() < 0)
        T_FAIL("cut at %d of %d: %s", cut, power.n, err_text());
    if (doubt && !renewing(cut) && !power.fail_at)
        T_FAIL("cut at %d of %d: %s", cut, power.n, doubt);
    check_sound(cut);
    for (size_t i = 0; i < n; i++) {
        struct id hash = hash_of(&entry[i].sid, entry[i].seq);
        if (!id_eq(&hash, &entry[i].hash))
            T_FAIL("cut at %d of %d: announced entry %zu is %s", cut, power.n, i, id_eq(&hash, &ID_NONE) ? "gone" : "another one");
    }
    OK(engine_begin(e));
    save(99, 10);
    OK(engine_commit(e, wall));
    const struct sid *sid = engine_own_sid(e);
    uint64_t seq = engine_known_of(e, sid);
    for (size_t i = 0; i < n; i++)
        if (sid_eq(&entry[i].sid, sid) && entry[i].seq >= seq)
            T_FAIL("cut at %d of %d: number %d is used twice", cut, power.n, (int)seq);
    end(false);
}

/* Returns how many operations it took to make the home. */
static int record_runs(int fail_at)
{
    uint64_t seed = 5;
    end(false);
    power_begin(3);
    nentry = nmark = nrenewal = 0;
    wall = loop_wall();
    OK(home_create(in_temp("home"), &(struct home_parts){ .keys = owner, .card = { card.data, card.len }, .folder = in_temp("folder") }));
    int made = power.n;
    power.fail_at = fail_at ? power.flushes + fail_at : 0;
    for (int i = 0; i < RUNS; i++)
        live(&seed);
    return made;
}

static void test_index(void)
{
    int made = record_runs(0);
    CHECK(nentry > 2 * COMMITS && power.n - made > 200);
    for (int cut = made; cut <= power.n; cut++)
        for (int round = 0; round < 2; round++) {
            power_cut(cut, round ? MOOD_ANY : MOOD_NOTHING);
            check(cut);
        }
}

static void test_flush_fails(void)
{
    bool more = true;
    int fail_at = 0;
    while (more) {
        int made = record_runs(++fail_at);
        more = power.flushes >= power.fail_at;
        for (int round = 0; round < 4; round++) {
            int cut = round < 2 ? power.n : made + (int)(t_rand(&power.seed) % (uint64_t)(power.n - made));
            power_cut(cut, round % 2 ? MOOD_ANY : MOOD_NOTHING);
            check(cut);
        }
    }
    CHECK(fail_at > 30);
}

static void make_owner(void)
{
    struct card c = { .created_ms = 1, .name = "box" };
    owner = t_device(1);
    c.dev = owner->dev;
    memcpy(c.tr_pk, owner->tr_pk, sizeof c.tr_pk);
    card = (struct buf)BUF_INIT(4096);
    OK(card_encode(&card, &c, owner));
}

int main(void)
{
    if (keys_init() < 0 || log_open("/dev/null") < 0)
        return 1;
    make_owner();
    RUN(test_index);
    RUN(test_flush_fails);
    end(false);
    power_end();
    device_keys_free(&owner);
    buf_release(&card);
    return t_done();
}
