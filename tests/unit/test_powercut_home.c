/* The power goes while the home is made, and while its files are written: keys, config, control log; and while packs are (t_power.h says
 * what may be left). Whatever a call had said to be done is there afterwards, and what was being written is as before or as it was to
 * become, never anything else. */
#include "node/config.h"
#include "node/home.h"
#include "store/folder.h"
#include "store/packs.h"
#include "tests/unit/t_power.h"
#include "tests/unit/t_record.h"

enum { ROUNDS = 8 };
static struct device_keys *owner;
static struct buf card;
static struct home *h;

/* Calls check(cut) for the disk as it may be before each operation. */
static void each_cut(void (*check)(int cut))
{
    for (int cut = 0; cut <= power.n; cut++)
        for (int round = 0; round < ROUNDS; round++) {
            power_cut(cut, round < MOOD_ANY ? (enum p_mood)round : MOOD_ANY);
            check(cut);
        }
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
static void make_home(void)
{
    struct home_parts p = { .keys = owner, .card = { card.data, card.len }, .folder = in_temp("folder"), .recovery = t_id(9) };
    OK(home_create(in_temp("a/home"), &p));
}

/* ---- making it ---- */

static void check_made(int cut)
{
    int r = home_open(in_temp("a/home"), &h);
    if (r == ERR_NOTFOUND && cut < power.n)
        return;                          /* no device here */
    if (r < 0)
        T_FAIL("cut at %d of %d: %s", cut, power.n, err_text());
    struct folder *f;
    EQ_MEM(h->keys->sign_sk, owner->sign_sk, sizeof owner->sign_sk);
    OK(folder_open(in_temp("folder"), &h->group_keys->group, &f));
    folder_close(&f);
    home_close(&h, true);
}
static void test_made(void)
{
    power_begin(1);
    make_home();
    CHECK(power.n > 20);
    each_cut(check_made);
}

/* ---- living in it ---- */

struct state { uint64_t records, epoch; bool running; char days[16]; };
static struct { int at; struct state s; } step[32];
static int nsteps;

static struct state state_of(const char *home)
{
    AUTOFREE char *running = home_file(h, "running");
    struct config c;
    OK(config_load(home, &c));
    struct state s = { .records = control_group(h->control)->ctl_n, .epoch = h->group_keys->epoch, .running = access(running, F_OK) == 0 };
    snprintf(s.days, sizeof s.days, "%s", c.history_days);
    config_release(&c);
    return s;
}
static void stepped(void)
{
    CHECK(nsteps < 32);
    step[nsteps].at = power.n;
    step[nsteps++].s = state_of(in_temp("a/home/config"));
}

static void append(size_t length)
{
    uint8_t text[600];
    const struct group *g = control_group(h->control);
    AUTO(buf_release) struct buf rec = BUF_INIT(LIMIT_CTL_BYTES);
    memset(text, 'x', sizeof text);
    struct ctl_op op = { .type = OP_RELAY, .text = { text, length } };
    struct ctl c = { .group = g->id, .prev = g->ctl_hash, .n = g->ctl_n + 1, .ts_ms = 5, .signer = owner->dev };
    OK(ctl_encode(&rec, &c, &op, 1, owner));
    OK(control_append(h->control, rec.data, rec.len));
}

static bool same_state(const struct state *a, const struct state *b)
{
    return a->records == b->records && a->epoch == b->epoch && a->running == b->running && strcmp(a->days, b->days) == 0;
}
static void check_life(int cut)
{
    int i = nsteps - 1;
    while (i > 0 && step[i].at > cut)
        i--;
    if (cut < step[0].at)
        return;                          /* test_made */
    if (home_open(in_temp("a/home"), &h) < 0)
        T_FAIL("cut at %d of %d: %s", cut, power.n, err_text());
    struct state now = state_of(in_temp("a/home/config"));
    EQ_I(h->unclean, now.running);
    if (!same_state(&now, &step[i].s) && !(i + 1 < nsteps && same_state(&now, &step[i + 1].s)))
        T_FAIL("cut at %d of %d, in step %d: %d records, epoch %d, running %d, %s days", cut, power.n, i + 1, (int)now.records,
               (int)now.epoch, now.running, now.days);
    uint64_t before = now.records;
    append(5);                           /* and it goes on */
    EQ_U(control_group(h->control)->ctl_n, before + 1);
    home_close(&h, true);
}
static void test_life(void)
{
    power_begin(2);
    nsteps = 0;
    make_home();
    OK(home_open(in_temp("a/home"), &h));
    stepped();
    OK(home_mark_running(h));
    stepped();
    for (size_t i = 0; i < 3; i++) {
        append(1 + 250 * i);
        stepped();
        h->group_keys->epoch++;
        OK(home_save_group_keys(h));
        stepped();
        OK(config_set(in_temp("a/home/config"), "history_days", i % 2 ? "100" : "7"));
        stepped();
    }
    home_close(&h, false);
    each_cut(check_life);
}

/* ---- packs ---- */

enum { PIECES = 12, PIECE = 9000 };
static struct { struct id id; struct pack_at at; int sure; uint8_t data[PIECE]; } piece[PIECES];
static const struct id group = { { 7 } };
static struct folder *folder;

static void write_pieces(uint64_t pack, uint64_t *size, int from, int to)
{
    struct pack_writer *w;
    OK(pack_begin(folder_packs(folder), pack, *size, &w));
    for (int i = from; i < to; i++) {
        for (size_t k = 0; k < PIECE; k++)
            piece[i].data[k] = (uint8_t)(i % 2 ? (size_t)i : t_rand(&power.seed));
        piece[i].id = id_hash(piece[i].data, PIECE);
        OK(pack_put(w, PACK_BLOCK, &piece[i].id, piece[i].data, PIECE, &piece[i].at));
    }
    OK(pack_end(&w, size));
    for (int i = from; i < to; i++)
        piece[i].sure = power.n;
}
static int count(void *arg, const struct pack_sight *s)
{
    *(int *)arg += s->rec && s->code == 0;
    return 0;
}
static void check_packs(int cut)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BLOCK);
    int sure = 0, found[3] = { 0 };
    if (cut < piece[0].sure)
        return;                          /* perhaps not even a folder yet */
    OK(folder_open(in_temp("folder"), &group, &folder));
    for (int i = 0; i < PIECES && cut >= piece[i].sure; i++, sure++) {
        int r = pack_read(folder_packs(folder), &piece[i].at, PACK_BLOCK, &piece[i].id, &b);
        if (r < 0)
            T_FAIL("cut at %d of %d: piece %d: %s", cut, power.n, i, err_text());
        EQ_MEM(b.data, piece[i].data, PIECE);
    }
    for (uint64_t pack = 1; pack <= 2; pack++)
        CHECK(pack_scan(folder_packs(folder), pack, 0, count, &found[pack]) == 0 || pack == 2);
    CHECK(found[1] + found[2] >= sure);
    folder_close(&folder);
}
static void test_packs(void)
{
    uint64_t first = 0, second = 0;
    power_begin(4);
    OK(folder_create(in_temp("folder"), &group));
    OK(folder_open(in_temp("folder"), &group, &folder));
    write_pieces(1, &first, 0, 4);
    write_pieces(1, &first, 4, 8);
    write_pieces(2, &second, 8, PIECES);
    folder_close(&folder);
    each_cut(check_packs);
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    make_owner();
    RUN(test_made);
    RUN(test_life);
    RUN(test_packs);
    folder_close(&folder);
    home_close(&h, false);
    power_end();
    device_keys_free(&owner);
    buf_release(&card);
    return t_done();
}
