/* Holes of files: what comes of them is what reading them would have given, and they are not read. Files in memory, whose file system is
 * one of those that are trusted, whatever that of the other tests is. */
#include <fcntl.h>
#include <sodium.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/content.h"
#include "store/sys.h"
#include "tests/unit/t.h"

#define MIB (1024u * 1024)
enum { ISLANDS = 3 };

static struct gear gear;
static struct sys hooks;
static size_t counted;           /* bytes read */

static ssize_t counting_pread(int fd, void *p, size_t n, off_t off)
{
    ssize_t r = pread(fd, p, n, off);
    counted += r > 0 ? (size_t)r : 0;
    return r;
}

static void count(void)
{
    hooks = sys_kernel;
    hooks.pread = counting_pread;
    sys = &hooks;
    counted = 0;
}

/* Data at some places, the rest zeros. */
struct sparse { size_t size, at[ISLANDS], len[ISLANDS]; };

static uint8_t *bytes_of(const struct sparse *s)
{
    uint8_t *p = calloc(s->size, 1);
    uint64_t seed = 7;
    for (size_t i = 0; i < ISLANDS; i++)
        for (size_t k = 0; k < s->len[i]; k++)
            p[s->at[i] + k] = (uint8_t)t_rand(&seed);
    return p;
}

static int file_of(const struct sparse *s, const uint8_t *p, bool holes)
{
    int fd = memfd_create("sparse", MFD_CLOEXEC);
    OK(ftruncate(fd, (off_t)s->size));
    if (!holes)
        EQ_I(pwrite(fd, p, s->size, 0), s->size);
    for (size_t i = 0; holes && i < ISLANDS; i++)
        EQ_I(pwrite(fd, p + s->at[i], s->len[i], (off_t)s->at[i]), s->len[i]);
    return fd;
}

static struct block_ref ref_of(const struct content_list *c, uint32_t i)
{
    struct block_ref r;
    block_ref_get(c->refs + (size_t)i * BLOCK_REF, &r);
    return r;
}

static bool bit(const uint8_t *map, uint32_t i) { return map[i / 8] >> (i % 8) & 1; }

static void check_read(const struct sparse *s)
{
    struct content_list sparse, dense, other;
    AUTOFREE uint8_t *p = bytes_of(s);
    int fd = file_of(s, p, true), full = file_of(s, p, false);
    OK(content_read(full, s->size, &gear, -1, NULL, &dense));
    count();
    OK(content_read(fd, s->size, &gear, -1, NULL, &sparse));
    CHECK(counted < s->size / 2);
    EQ_U(sparse.nblocks, dense.nblocks);
    EQ_MEM(sparse.refs, dense.refs, (size_t)dense.nblocks * BLOCK_REF);
    CHECK(id_eq(&sparse.root, &dense.root));
    FAILS(content_read(fd, s->size - 1, &gear, -1, NULL, &other), ERR_CHANGED, "bytes");
    FAILS(content_read(fd, s->size + 1, &gear, -1, NULL, &other), ERR_CHANGED, "bytes");
    content_list_release(&sparse);
    content_list_release(&dense);
    close(fd);
    close(full);
}

/* At the beginning, in the middle, at the end, and some that are too small to count. */
static void test_read(void)
{
    static const struct sparse v[] = {
        { 15 * MIB, { 5 * MIB }, { 70000 } },
        { 15 * MIB, { 0, 6 * MIB + 123 }, { 5000, 2 * MIB } },
        { 15 * MIB - 1, { 100, 300000, 15 * MIB - 5000 }, { 1, 400000, 4999 } },
        { 15 * MIB, { 0 }, { 0 } },
        { 52 * MIB, { 20 * MIB, 41 * MIB + 1 }, { MIB, 300000 } },
    };
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        check_read(&v[i]);
}

/* What lies in a hole is right only where zeros are to be. */
static void test_known_content(void)
{
    static const struct sparse s = { 15 * MIB, { 5 * MIB }, { MIB } };
    AUTOFREE uint8_t *p = bytes_of(&s), *q = malloc(s.size);
    int fd = file_of(&s, p, true), out = memfd_create("out", MFD_CLOEXEC), begun = memfd_create("begun", MFD_CLOEXEC);
    struct content_list c;
    uint8_t whole[64], part[64];
    OK(content_read(fd, s.size, &gear, -1, NULL, &c));
    OK(ftruncate(begun, (off_t)s.size));
    count();
    OK(content_copy(fd, out, &c));
    OK(content_have(out, c.refs, c.nblocks, &c.root, s.size, whole));
    OK(content_have(begun, c.refs, c.nblocks, &c.root, s.size, part));
    CHECK(counted < 4 * MIB);
    EQ_I(pread(out, q, s.size, 0), s.size);
    EQ_MEM(q, p, s.size);
    unsigned zeros = 0, at = 0;
    for (uint32_t i = 0; i < c.nblocks; i++) {
        struct block_ref r = ref_of(&c, i);
        bool zero = p[at] == 0 && memcmp(p + at, p + at + 1, r.len - 1) == 0;
        CHECK(bit(whole, i));
        EQ_U(bit(part, i), zero);
        zeros += zero;
        at += r.len;
    }
    CHECK(zeros > 40 && zeros + 4 < c.nblocks);
    content_list_release(&c);
    close(fd);
    close(out);
    close(begun);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    uint8_t key[32] = { 42 };
    chunk_gear(&gear, key);
    RUN(test_read);
    RUN(test_known_content);
    return t_done();
}
