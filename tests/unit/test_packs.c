/* store/packs: what was put comes back, damage is seen and read around, and a crash leaves what was durable before as it was. */
#include "store/packs.h"

#include <errno.h>
#include <fcntl.h>

#include "proto/limits.h"
#include "tests/unit/temp_dir.h"

#define MIB (1u << 20)

static struct packs *packs;

static void begin(void)
{
    packs_close(&packs);
    temp_begin();
    int dir = open(temp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    OK(packs_open(&dir, &packs));
    EQ_I(dir, -1);
}

struct thing { struct id id; struct pack_at at; uint8_t *data; uint32_t len; };

/* Bytes that follow from the seed: every second thing compresses well. */
static struct thing make(uint64_t *seed, uint32_t len)
{
    struct thing t = {.data = xcalloc(len + 1u, 1), .len = len};
    bool dull = t_rand(seed) % 2;
    for (uint32_t i = 0; i < len; i++)
        t.data[i] = dull ? (uint8_t)(i / 1000 + len) : (uint8_t)t_rand(seed);
    t.id = id_hash(t.data, len);
    return t;
}

static uint64_t write_pack(uint64_t pack, uint64_t size, struct thing *v, size_t n)
{
    struct pack_writer *w;
    OK(pack_begin(packs, pack, size, &w));
    for (size_t i = 0; i < n; i++)
        OK(pack_put(w, PACK_BLOCK, &v[i].id, v[i].data, v[i].len, &v[i].at));
    OK(pack_end(&w, &size));
    CHECK(!w);
    return size;
}

static void comes_back(const struct thing *t)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BLOCK);
    OK(pack_read(packs, &t->at, PACK_BLOCK, &t->id, &b));
    EQ_U(b.len, t->len);
    if (t->len)
        EQ_MEM(b.data, t->data, t->len);
}

static const char *file_of(uint64_t pack)
{
    char name[40];
    snprintf(name, sizeof name, "p-%08" PRIx64, pack);
    return in_temp(name);
}

static void flip(uint64_t pack, uint64_t off)
{
    uint8_t b;
    int fd = open(file_of(pack), O_RDWR | O_CLOEXEC);
    EQ_I(pread(fd, &b, 1, (off_t)off), 1);
    b ^= 0x10;
    EQ_I(pwrite(fd, &b, 1, (off_t)off), 1);
    close(fd);
}

static void drop(struct thing *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(v[i].data);
}

struct seen { unsigned good, bad, gaps; uint64_t last; };
static int see(void *arg, const struct pack_sight *s)
{
    struct seen *seen = arg;
    seen->good += s->code == 0;
    seen->bad += s->code < 0 && s->rec;
    seen->gaps += !s->rec;
    seen->last = s->at.off;
    return 0;
}

enum { N = 40 };
static void some(struct thing v[N], uint64_t seed)
{
    static const uint32_t odd[] = {0, 1, 2, 56, 4095, 4096, LIMIT_BLOCK};
    for (size_t i = 0; i < N; i++)
        v[i] = make(&seed, i < sizeof odd / sizeof *odd ? odd[i] : (uint32_t)(t_rand(&seed) % (128 * 1024)));
}

static void test_round_trip(void)
{
    begin();
    struct thing v[N], more[N];
    some(v, 1);
    some(more, 2);
    uint64_t size = write_pack(7, 0, v, N);
    uint64_t longer = write_pack(7, size, more, N);
    CHECK(more[0].at.off % 4096 == 0 && more[0].at.off >= size && longer > size);
    for (size_t i = 0; i < N; i++) {
        comes_back(&v[i]);
        comes_back(&more[i]);
    }
    struct seen s = {0};
    OK(pack_scan(packs, 7, 0, see, &s));
    EQ_U(s.good, 2 * N);
    EQ_U(s.bad + s.gaps, 0);
    s = (struct seen){0};
    OK(pack_scan(packs, 7, size, see, &s));
    EQ_U(s.good, N);
    drop(v, N);
    drop(more, N);
}

static void test_compressed(void)
{
    begin();
    uint64_t seed = 3;
    struct thing dull = {.data = xcalloc(MIB, 1), .len = MIB}, noise = {.data = xcalloc(MIB, 1), .len = MIB};
    for (size_t i = 0; i < MIB; i++)
        noise.data[i] = (uint8_t)t_rand(&seed);
    dull.id = id_hash(dull.data, MIB);
    noise.id = id_hash(noise.data, MIB);
    CHECK(write_pack(1, 0, &dull, 1) < 4096);
    uint64_t size = write_pack(2, 0, &noise, 1);
    CHECK(size >= MIB && size < MIB + 4096);
    comes_back(&dull);
    comes_back(&noise);
    free(dull.data);
    free(noise.data);
}

static void test_content(void)
{
    begin();
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BLOCK), out = BUF_INIT(LIMIT_BLOCK);
    uint8_t refs[3 * BLOCK_REF];
    for (uint32_t i = 0; i < 3; i++)
        block_ref_put(refs + i * BLOCK_REF, &(struct block_ref){id_hash(&i, sizeof i), 100 + i});
    struct id root = block_root(refs, 3);
    pack_content_put(&b, 303, refs, 3, NULL);
    struct pack_writer *w;
    struct pack_at at;
    uint64_t size;
    struct pack_content c;
    OK(pack_begin(packs, 1, 0, &w));
    OK(pack_put(w, PACK_CONTENT, &root, b.data, (uint32_t)b.len, &at));
    OK(pack_end(&w, &size));
    OK(pack_read(packs, &at, PACK_CONTENT, &root, &out));
    OK(pack_content_get(&root, out.data, out.len, &c));
    EQ_U(c.size, 303);
    EQ_U(c.nblocks, 3);
    EQ_MEM(c.refs, refs, sizeof refs);
    FAILS(pack_content_get(&root, out.data, out.len - 1, &c), ERR_CORRUPT, "content");
    FAILS(pack_content_get(&ID_NONE, out.data, out.len, &c), ERR_CORRUPT, "root");
    FAILS(pack_read(packs, &at, PACK_BLOCK, &root, &out), ERR_CORRUPT, "pack 1");
    buf_clear(&b);
    pack_content_put(&b, 5, NULL, 1, &(struct pack_origin){0});
    OK(pack_content_get(&root, b.data, b.len, &c));
    CHECK(c.size == 5 && !c.refs && c.origin.len == 0);
}

/* Where it was packed from; of a pack of before that, and of one of a later version, nothing is known. */
static void test_origin(void)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BLOCK);
    struct pack_origin from = {"a/path", 6, 0640, -1500000000123456789};
    struct pack_content c;
    struct id root = id_hash("12345", 5);
    pack_content_put(&b, 5, NULL, 1, &from);
    OK(pack_content_get(&root, b.data, b.len, &c));
    EQ_U(c.origin.len, 6);
    EQ_MEM(c.origin.path, "a/path", 6);
    CHECK(c.origin.mode == 0640 && c.origin.mtime_ns == from.mtime_ns && c.size == 5);
    for (size_t i = 13; i < b.len; i++) {
        b.data[i] ^= 1;
        FAILS(pack_content_get(&root, b.data, b.len, &c), ERR_CORRUPT, "path");
        b.data[i] ^= 1;
    }
    for (size_t len = 13; len < b.len; len++)
        FAILS(pack_content_get(&root, b.data, len, &c), ERR_CORRUPT, "path");
    b.data[12] = 2;
    OK(pack_content_get(&root, b.data, b.len, &c));
    CHECK(c.origin.len == 0 && c.size == 5);
    buf_clear(&b);
    from.path = "../out";
    pack_content_put(&b, 5, NULL, 1, &from);
    FAILS(pack_content_get(&root, b.data, b.len, &c), ERR_CORRUPT, "path");
}

/* Whichever byte is flipped: exactly that record is lost. */
static void test_damage(void)
{
    uint64_t seed = 5;
    for (unsigned round = 0; round < 20; round++) {
        begin();
        struct thing v[N];
        some(v, 6);
        uint64_t size = write_pack(1, 0, v, N);
        uint64_t at = 64 + t_rand(&seed) % (size - 64);
        flip(1, at);
        AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BLOCK);
        unsigned lost = 0;
        for (size_t i = 0; i < N; i++) {
            bool hit = at >= v[i].at.off && at < v[i].at.off + v[i].at.len;
            lost += hit;
            if (hit)
                EQ_I(pack_read(packs, &v[i].at, PACK_BLOCK, &v[i].id, &b), ERR_CORRUPT);
            else
                comes_back(&v[i]);
        }
        struct seen s = {0};
        OK(pack_scan(packs, 1, 0, see, &s));
        EQ_U(lost, 1);
        EQ_U(s.good, N - 1);
        EQ_U(s.bad + s.gaps, 1);
        drop(v, N);
    }
}

static void test_cut_short(void)
{
    begin();
    struct thing v[N];
    some(v, 8);
    write_pack(1, 0, v, N);
    OK(truncate(file_of(1), (off_t)v[N - 1].at.off + 60));
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_BLOCK);
    EQ_I(pack_read(packs, &v[N - 1].at, PACK_BLOCK, &v[N - 1].id, &b), ERR_CORRUPT);
    comes_back(&v[N - 2]);
    struct seen s = {0};
    OK(pack_scan(packs, 1, 0, see, &s));
    CHECK(s.good == N - 1 && s.gaps == 1 && s.bad == 0);
    drop(v, N);
    FAILS(pack_read(packs, &(struct pack_at){9, 64, 100}, PACK_BLOCK, &ID_NONE, &b), ERR_NOTFOUND, "pack 9");
}

/* What was cut short claims bytes that others were written to since: all of those are seen. */
static void test_written_behind_what_was_cut_short(void)
{
    begin();
    struct thing v[N], more[N];
    some(v, 10);
    some(more, 11);
    write_pack(1, 0, v, N);
    uint64_t size = v[N - 1].at.off + 60;
    CHECK(v[N - 1].at.len > 5000);
    OK(truncate(file_of(1), (off_t)size));
    write_pack(1, size, more, N);
    CHECK(more[0].at.off < v[N - 1].at.off + v[N - 1].at.len);
    for (size_t i = 0; i < N; i++)
        comes_back(&more[i]);
    struct seen s = {0};
    OK(pack_scan(packs, 1, 0, see, &s));
    EQ_U(s.good, 2 * N - 1);
    EQ_U(s.bad, 1);
    EQ_U(s.last, more[N - 1].at.off);
    drop(v, N);
    drop(more, N);
}

/* A writer that has died, and one that gives up: what was there before is as it was, and no number is taken twice. */
static void test_unfinished(void)
{
    begin();
    struct thing v[N];
    struct pack_writer *w;
    some(v, 9);
    uint64_t size = write_pack(1, 0, v, N / 2);
    OK(pack_begin(packs, 1, size, &w));
    OK(pack_put(w, PACK_BLOCK, &v[N - 1].id, v[N - 1].data, v[N - 1].len, &v[N - 1].at));
    struct pack_writer *other = w;
    FAILS(pack_begin(packs, 1, size, &w), ERR_CHANGED, "pack 1");     /* as after a crash: the file is longer than the index says */
    CHECK(!w);
    for (size_t i = 0; i < N / 2; i++)
        comes_back(&v[i]);
    pack_abandon(&other);
    struct seen s = {0};
    OK(pack_scan(packs, 1, 0, see, &s));
    EQ_U(s.good, N / 2);
    EQ_U(s.bad + s.gaps, 0);
    OK(pack_begin(packs, 1, size, &w));
    pack_abandon(&w);
    FAILS(pack_begin(packs, 1, 0, &w), ERR_EXISTS, "pack 1");
    OK(pack_begin(packs, 2, 0, &w));
    pack_abandon(&w);
    CHECK(access(file_of(2), F_OK) != 0);
    drop(v, N);
}

static int fail_fsync(int fd) { (void)fd; errno = EIO; return -1; }

static void test_disk_fails(void)
{
    begin();
    struct thing v[N];
    struct pack_writer *w;
    struct sys failing = sys_kernel;
    some(v, 10);
    uint64_t size = write_pack(1, 0, v, 3), after;
    failing.fsync = fail_fsync;
    sys = &failing;
    OK(pack_begin(packs, 1, size, &w));
    OK(pack_put(w, PACK_BLOCK, &v[5].id, v[5].data, v[5].len, &v[5].at));
    FAILS(pack_end(&w, &after), ERR_IO, "durable");
    CHECK(!w);
    sys = &sys_kernel;
    OK(pack_begin(packs, 1, size, &w));                                /* cut off again */
    pack_abandon(&w);
    drop(v, N);
}

static int count(void *arg, uint64_t pack, uint64_t size)
{
    *(uint64_t *)arg += pack * 1000 + (size > 0);
    return 0;
}

static void test_list(void)
{
    begin();
    struct thing v[N];
    uint64_t sum = 0;
    some(v, 11);
    write_pack(3, 0, v, 1);
    write_pack(0x123456789, 0, v, 1);
    temp_write("p-0000000g", "x", 1);
    temp_write("p-3", "x", 1);
    temp_write("other", "x", 1);
    OK(packs_list(packs, count, &sum));
    EQ_U(sum, (3 + 0x123456789ull) * 1000 + 2);
    OK(packs_remove(packs, 3));
    OK(packs_remove(packs, 3));
    sum = 0;
    OK(packs_list(packs, count, &sum));
    EQ_U(sum, 0x123456789ull * 1000 + 1);
    drop(v, N);
}

int main(void)
{
    RUN(test_round_trip);
    RUN(test_compressed);
    RUN(test_content);
    RUN(test_origin);
    RUN(test_damage);
    RUN(test_cut_short);
    RUN(test_written_behind_what_was_cut_short);
    RUN(test_unfinished);
    RUN(test_disk_fails);
    RUN(test_list);
    packs_close(&packs);
    temp_end();
    return t_done();
}
