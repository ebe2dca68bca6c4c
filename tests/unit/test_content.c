#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/content.h"
#include "store/sys.h"
#include "tests/unit/t.h"

#define MIB (1024u * 1024)

static struct gear gear;

/* A nameless file, open for reading and writing. */
static int temp_file(void)
{
    const char *dir = getenv("TMPDIR");
    char name[256];
    snprintf(name, sizeof name, "%s/lanyard-test-XXXXXX", dir ? dir : "/tmp");
    int fd = mkostemp(name, O_CLOEXEC);
    CHECK(fd >= 0);
    unlink(name);
    return fd;
}

static void random_bytes(uint8_t *p, size_t len, uint64_t seed)
{
    for (size_t i = 0; i < len; i += 8) {
        uint64_t v = t_rand(&seed);
        memcpy(p + i, &v, len - i < 8 ? len - i : 8);
    }
}

static int file_with(const uint8_t *p, size_t len)
{
    int fd = temp_file();
    EQ_I(pwrite(fd, p, len, 0), len);
    return fd;
}

static int random_file(size_t len, uint64_t seed)
{
    uint8_t *p = malloc(len + 1);
    random_bytes(p, len, seed);
    int fd = file_with(p, len);
    free(p);
    return fd;
}

static bool same_bytes(int a, int b, size_t len)
{
    uint8_t *p = malloc(len + 1), *q = malloc(len + 1);
    bool same = pread(a, p, len + 1, 0) == (ssize_t)len && pread(b, q, len + 1, 0) == (ssize_t)len && memcmp(p, q, len) == 0;
    free(p);
    free(q);
    return same;
}

/* ---- system calls that misbehave ---- */
static struct sys hooks;
static uint64_t hook_seed;
static int clone_result;          /* 0: copies; 1: copies wrongly; else the errno */

static ssize_t short_pread(int fd, void *p, size_t n, off_t off)
{
    if (t_rand(&hook_seed) % 8 == 0) {
        errno = EINTR;
        return -1;
    }
    return pread(fd, p, n > 1 ? 1 + t_rand(&hook_seed) % n : n, off);
}
static ssize_t short_pwrite(int fd, const void *p, size_t n, off_t off)
{
    return pwrite(fd, p, n > 1 ? 1 + t_rand(&hook_seed) % n : n, off);
}
/* A file that grows faster than it is read. */
static ssize_t endless_pread(int fd, void *p, size_t n, off_t off)
{
    (void)fd, (void)off;
    memset(p, 0, n);
    return (ssize_t)n;
}
static ssize_t bad_pread(int fd, void *p, size_t n, off_t off)
{
    (void)fd, (void)p, (void)n, (void)off;
    errno = EIO;
    return -1;
}
static ssize_t full_pwrite(int fd, const void *p, size_t n, off_t off)
{
    (void)fd, (void)p, (void)n, (void)off;
    errno = ENOSPC;
    return -1;
}
static ssize_t no_pwrite(int fd, const void *p, size_t n, off_t off)
{
    (void)fd, (void)p, (void)n, (void)off;
    abort();
}
static int fake_clone(int out_fd, int fd)
{
    if (clone_result > 1) {
        errno = clone_result;
        return -1;
    }
    uint8_t data[65536];
    off_t at = 0;
    for (ssize_t n; (n = pread(fd, data, sizeof data, at)) > 0; at += n)
        if (pwrite(out_fd, data, (size_t)n, at) != n)
            return -1;
    if (clone_result == 1 && pwrite(out_fd, "?", 1, at / 2) != 1)
        return -1;
    return ftruncate(out_fd, at);
}
static void hook(void)
{
    hooks = sys_kernel;
    hook_seed = 1;
    sys = &hooks;
}
static void unhook(void)
{
    sys = &sys_kernel;
}

/* ---- reading ---- */

static void test_inline(void)
{
    const size_t sizes[] = { 0, 1, LIMIT_INLINE };
    for (size_t i = 0; i < 3; i++) {
        uint8_t p[LIMIT_INLINE];
        random_bytes(p, sizes[i], i);
        int fd = file_with(p, sizes[i]);
        struct content_list c;
        OK(content_read(fd, sizes[i], &gear, -1, NULL, &c));
        struct id want = id_hash(p, sizes[i]);
        EQ_I(c.type, CONTENT_INLINE);
        EQ_U(c.inline_len, sizes[i]);
        EQ_U(c.size, sizes[i]);
        EQ_MEM(c.inline_bytes, p, sizes[i]);
        CHECK(id_eq(&c.root, &want) && c.refs == NULL && c.nblocks == 0);
        content_list_release(&c);
        close(fd);
    }
}

static void test_one_block(void)
{
    uint8_t p[LIMIT_INLINE + 1];
    random_bytes(p, sizeof p, 3);
    int fd = file_with(p, sizeof p);
    struct content_list c;
    OK(content_read(fd, sizeof p, &gear, -1, NULL, &c));
    struct id want = id_hash(p, sizeof p);
    EQ_I(c.type, CONTENT_BLOCKS);
    EQ_U(c.nblocks, 1);
    EQ_U(c.class, 0);
    CHECK(c.refs == NULL && id_eq(&c.root, &want));
    content_list_release(&c);
    OK(content_read(fd, sizeof p, &gear, 1, NULL, &c)); /* far below half of class 1: class 0 again */
    EQ_U(c.class, 0);
    close(fd);
}

/* Against the chunker on the whole file in memory. Frees p. */
static void check_bytes(uint8_t *p, size_t size, int previous, int class)
{
    int fd = file_with(p, size);
    struct content_list c;
    OK(content_read(fd, size, &gear, previous, NULL, &c));
    EQ_U(c.class, class);
    OK(block_list_check(c.refs, c.nblocks, &c.root, size));
    size_t at = 0;
    for (uint32_t i = 0; i < c.nblocks; i++) {
        struct block_ref r;
        block_ref_get(c.refs + i * BLOCK_REF, &r);
        EQ_U(r.len, chunk_cut(&gear, &chunk_classes[class], p + at, size - at));
        struct id want = id_hash(p + at, r.len);
        CHECK(id_eq(&r.id, &want));
        at += r.len;
    }
    EQ_U(at, size);
    content_list_release(&c);
    close(fd);
    free(p);
}

static void check_list(size_t size, int previous, int class)
{
    uint8_t *p = malloc(size);
    random_bytes(p, size, size);
    memset(p + size / 3, 0, size / 4);
    check_bytes(p, size, previous, class);
}

/* From its middle on by another thread: cuts that meet at once, after a while, only at the end. */
static void check_halves(size_t from, size_t len, int byte)
{
    const size_t size = 33 * MIB + 77;
    uint8_t *p = malloc(size);
    random_bytes(p, size, 11);
    memset(p + from, byte, len);
    check_bytes(p, size, -1, 1);
}

static void test_halves(void)
{
    check_halves(9 * MIB + 5, 15 * MIB, 0);
    check_halves(9 * MIB + 5, 24 * MIB + 72, 'x');
    check_halves(0, 33 * MIB + 77, 'x');
}

static void test_lists(void)
{
    check_list(300000, -1, 0);
    check_list(2 * 256 * 1024, -1, 0);       /* the window exactly */
    check_list(2 * 256 * 1024 - 1, -1, 0);
    check_list(7 * MIB + 1, -1, 0);
    check_list(17 * MIB, -1, 1);
    check_list(17 * MIB, 0, 0);
    check_list(9 * MIB, 1, 1);
}

static void test_short_reads(void)
{
    hook();
    hooks.pread = short_pread;
    check_list(3 * MIB + 17, -1, 0);
    check_list(9 * MIB + 1, 1, 1);
    unhook();
}

static void test_size_changed(void)
{
    const size_t sizes[] = { 10, 5000, 3 * MIB };
    for (size_t i = 0; i < 3; i++) {
        int fd = random_file(sizes[i], i);
        struct content_list c;
        FAILS(content_read(fd, sizes[i] + 1, &gear, -1, NULL, &c), ERR_CHANGED, "bytes");
        CHECK(c.refs == NULL);
        FAILS(content_read(fd, sizes[i] - 1, &gear, -1, NULL, &c), ERR_CHANGED, "bytes");
        CHECK(c.refs == NULL);
        close(fd);
    }
}

static void test_stop_and_errors(void)
{
    int fd = random_file(MIB, 1);
    struct content_list c;
    _Atomic bool stop = true;
    FAILS(content_read(fd, MIB, &gear, -1, &stop, &c), ERR_CLOSED, "given up");
    atomic_store(&stop, false);
    OK(content_read(fd, MIB, &gear, -1, &stop, &c));
    content_list_release(&c);
    FAILS(content_read(fd, LIMIT_FILE_SIZE + 1, &gear, -1, NULL, &c), ERR_FULL, "largest");
    hook();
    hooks.pread = endless_pread;
    FAILS(content_read(fd, MIB, &gear, -1, NULL, &c), ERR_CHANGED, "being written");
    hooks.pread = bad_pread;
    FAILS(content_read(fd, MIB, &gear, -1, NULL, &c), ERR_IO, "Input/output error");
    FAILS(content_read(fd, 5, &gear, -1, NULL, &c), ERR_IO, "Input/output error");
    unhook();
    close(fd);
}

/* ---- blocks ---- */

static void test_block(void)
{
    uint8_t p[5000], buf[5000];
    random_bytes(p, sizeof p, 4);
    int fd = file_with(p, sizeof p);
    struct id id = id_hash(p + 100, 4000);
    OK(content_block(fd, 100, 4000, &id, buf));
    EQ_MEM(buf, p + 100, 4000);
    FAILS(content_block(fd, 101, 4000, &id, buf), ERR_CORRUPT, "byte 101");
    FAILS(content_block(fd, 1100, 4000, &id, buf), ERR_CORRUPT, "byte 1100"); /* behind the end */
    struct id prefix = id_hash(p + 4000, 1000);
    FAILS(content_block(fd, 4000, 4000, &prefix, buf), ERR_CORRUPT, "byte 4000"); /* a short file cannot pose as the block */
    close(fd);
}

/* Many together, of two files: each is judged by itself. */
static void test_blocks(void)
{
    enum { N = 20, LEN = 700 };
    static uint8_t p[N * LEN], buf[N * LEN];
    struct block_read b[N];
    random_bytes(p, sizeof p, 5);
    int fd = file_with(p, sizeof p), half = file_with(p, sizeof p / 2 + 5);
    for (size_t i = 0; i < N; i++)
        b[i] = (struct block_read){ .fd = i % 2 ? half : fd, .off = i * LEN, .len = LEN, .id = id_hash(p + i * LEN, LEN), .buf = buf + i * LEN };
    b[4].id.b[31] ^= 1;
    content_blocks(b, N);
    for (size_t i = 0; i < N; i++)
        EQ_I(b[i].code, i == 4 || (i % 2 && i >= N / 2) ? ERR_CORRUPT : 0);
    EQ_MEM(buf, p, N / 2 * LEN);
    hook();
    hooks.pread = bad_pread;
    content_blocks(b, 2);
    unhook();
    EQ_I(b[0].code, ERR_IO);
    EQ_I(b[1].code, ERR_IO);
    close(fd);
    close(half);
}

static void check_copy(size_t size)
{
    int fd = random_file(size, size), out = random_file(size + 4096, 1); /* old bytes in the way, and more of them */
    struct content_list c;
    OK(content_read(fd, size, &gear, -1, NULL, &c));
    OK(content_copy(fd, out, &c));
    CHECK(same_bytes(fd, out, size));
    if (size) { /* one wrong byte in the source */
        uint8_t b;
        EQ_I(pread(fd, &b, 1, (off_t)size / 2), 1);
        b ^= 1;
        EQ_I(pwrite(fd, &b, 1, (off_t)size / 2), 1);
        FAILS(content_copy(fd, out, &c), ERR_CORRUPT, "block at byte");
    }
    content_list_release(&c);
    close(fd);
    close(out);
}

static void test_copy(void)
{
    const size_t sizes[] = { 0, 1, LIMIT_INLINE, 5000, 3 * MIB };
    hook();
    for (size_t i = 0; i < 5; i++) {
        check_copy(sizes[i]);                  /* whatever the file system can */
        hooks.clone = fake_clone;
        clone_result = 0;                      /* a reflink */
        hooks.pwrite = no_pwrite;
        check_copy(sizes[i]);
        hooks.pwrite = short_pwrite;           /* no reflink */
        clone_result = EOPNOTSUPP;
        check_copy(sizes[i]);
        clone_result = EXDEV;
        check_copy(sizes[i]);
        hooks = sys_kernel;
    }
    unhook();
}

static void test_copy_verifies_the_reflink(void)
{
    int fd = random_file(MIB, 9), out = temp_file();
    struct content_list c;
    OK(content_read(fd, MIB, &gear, -1, NULL, &c));
    hook();
    hooks.clone = fake_clone;
    clone_result = 1;
    FAILS(content_copy(fd, out, &c), ERR_CORRUPT, "block at byte");
    clone_result = ENOTSUP;
    hooks.pwrite = full_pwrite;
    FAILS(content_copy(fd, out, &c), ERR_FULL, "No space left");
    unhook();
    content_list_release(&c);
    close(fd);
    close(out);
}

static void test_copy_sparse(void)
{
    const unsigned size = 16 * MIB - 1;
    int fd = random_file(100000, 1), out = temp_file();
    OK(ftruncate(fd, size));
    OK(fallocate(out, FALLOC_FL_KEEP_SIZE, 0, size));
    struct content_list c;
    OK(content_read(fd, size, &gear, -1, NULL, &c));
    hook();
    hooks.clone = fake_clone;
    clone_result = EOPNOTSUPP;
    OK(content_copy(fd, out, &c));
    unhook();
    CHECK(same_bytes(fd, out, size));
    struct stat st;
    OK(fstat(out, &st));
    CHECK(st.st_blocks * 512 < 4 * (int)MIB);
    content_list_release(&c);
    close(fd);
    close(out);
}

static void test_have(void)
{
    const size_t size = 3 * MIB;
    int fd = random_file(size, 77);
    struct content_list c;
    OK(content_read(fd, size, &gear, -1, NULL, &c));
    uint8_t map[64];
    uint64_t seed = 5;
    for (int round = 0; round < 10; round++) {
        int part = temp_file();
        bool have[512] = { false };
        off_t off = 0;
        for (uint32_t i = 0; i < c.nblocks; i++) {
            struct block_ref r;
            uint8_t data[256 * 1024];
            block_ref_get(c.refs + i * BLOCK_REF, &r);
            EQ_I(pread(fd, data, r.len, off), r.len);
            have[i] = t_rand(&seed) % 2;
            if (have[i])
                EQ_I(pwrite(part, data, r.len, off), r.len);
            off += r.len;
        }
        memset(map, 0xff, sizeof map);
        OK(content_have(part, c.refs, c.nblocks, &c.root, size, map));
        for (uint32_t i = 0; i < c.nblocks; i++)
            EQ_U(map[i / 8] >> (i % 8) & 1, have[i]);
        close(part);
    }
    hook();
    hooks.pread = bad_pread;
    EQ_I(content_have(fd, c.refs, c.nblocks, &c.root, size, map), ERR_IO);
    unhook();
    content_list_release(&c);
    close(fd);
}

static void test_have_single(void)
{
    int fd = random_file(5000, 3), empty = temp_file();
    struct content_list c;
    OK(content_read(fd, 5000, &gear, -1, NULL, &c));
    uint8_t map = 0xff;
    OK(content_have(fd, NULL, 1, &c.root, 5000, &map));
    EQ_U(map, 1);
    OK(content_have(empty, NULL, 1, &c.root, 5000, &map));
    EQ_U(map, 0);
    close(fd);
    close(empty);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    uint8_t key[32] = { 42 };
    chunk_gear(&gear, key);
    RUN(test_inline);
    RUN(test_one_block);
    RUN(test_lists);
    RUN(test_halves);
    RUN(test_short_reads);
    RUN(test_size_changed);
    RUN(test_stop_and_errors);
    RUN(test_block);
    RUN(test_blocks);
    RUN(test_copy);
    RUN(test_copy_verifies_the_reflink);
    RUN(test_copy_sparse);
    RUN(test_have);
    RUN(test_have_single);
    return t_done();
}
