/* Values of the index as bytes: what is written is read, and nothing else. */
#include "node/engine_priv.h"
#include "tests/unit/t.h"

static struct lock_saved a_lock(void)
{
    struct lock_saved s = {.n = 2, .held = 1, .newest = 7, .hold = {.sid = {{3}}, .seq = 9, .hdr_hash = {{4}}}};
    for (uint8_t i = 0; i < 2; i++) {
        memset(s.of[i].id, i + 1, sizeof s.of[i].id);
        s.of[i].state = i ? LOCK_OVERRIDDEN : LOCK_REACHED;
        s.of[i].since_ms = UINT64_MAX - i;
    }
    memset(s.accepted, 5, sizeof s.accepted);
    return s;
}

static void test_lock(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(SAVED_LOCK_MAX), none = BUF_INIT(SAVED_LOCK_MAX);
    struct lock_saved s = a_lock(), back, zero;
    memset(&zero, 0, sizeof zero);
    saved_lock_put(&b, &s);
    OK(saved_lock_get(&b, &back));
    EQ_MEM(&back, &s, sizeof s);
    saved_lock_put(&none, &zero);
    OK(saved_lock_get(&none, &back));
    EQ_MEM(&back, &zero, sizeof zero);
    struct buf part = b;
    for (part.len = 0; part.len < b.len; part.len++)
        FAILS(saved_lock_get(&part, &back), ERR_CORRUPT, "index: value lock: move the index away");
    b.data[1]++;                         /* a later format */
    FAILS(saved_lock_get(&b, &back), ERR_CORRUPT, "value lock");
    EQ_MEM(&back, &zero, sizeof zero);
}

/* As many as a group can have. */
static void test_most_locks(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(SAVED_LOCK_MAX);
    struct lock_saved s = a_lock(), back;
    for (s.n = 0; s.n < LIMIT_REQUIRED; s.n++)
        s.of[s.n] = s.of[0];
    saved_lock_put(&b, &s);
    OK(saved_lock_get(&b, &back));
    EQ_U(back.n, LIMIT_REQUIRED);
    b.data[2]++;                         /* one more */
    FAILS(saved_lock_get(&b, &back), ERR_CORRUPT, "value lock");
}

static struct end taken[4];
static size_t ntaken;
static void take(struct engine *e, const struct end *t)
{
    (void)e;
    taken[ntaken++] = *t;
}

static void test_ends(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(SAVED_ENDS_MAX);
    struct end end[] = {{.sid = {{1}}, .dev = {{2}}, .end = 0}, {.sid = {{3}}, .dev = {{4}}, .end = 77}};
    saved_ends_put(&b, end, 2);
    OK(saved_ends_each(&b, take, NULL));
    EQ_U(ntaken, 2);
    EQ_MEM(taken, end, sizeof end);
    ntaken = 0;
    b.len--;
    FAILS(saved_ends_each(&b, take, NULL), ERR_CORRUPT, "index: value ended: move the index away");
    EQ_U(ntaken, 0);
}

int main(void)
{
    RUN(test_lock);
    RUN(test_most_locks);
    RUN(test_ends);
    return t_done();
}
