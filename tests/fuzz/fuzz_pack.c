/* A damaged pack: the first byte says how many of the heads of records get a right check (else hardly an input would come past it). A
 * scan always ends, shows only what hashes to its name, and what it shows can be read again at the place it names. */
#include <assert.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/id.h"
#include "proto/limits.h"
#include "proto/path.h"
#include "store/packs.h"
#include "tests/fuzz/file.h"

enum { HEADED = 48, HEAD = 56 };        /* store/packs.h: a head without its check, and with it */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void mend_heads(uint8_t *pack, size_t size, unsigned n)
{
    for (size_t at = 0; n > 0 && at + HEAD <= size; at++) {
        if (memcmp(pack + at, "LYPK", 4) != 0)
            continue;
        struct id check = id_hash(pack + at, HEADED);
        memcpy(pack + at + HEADED, check.b, HEAD - HEADED);
        n--;
    }
}

static int see(void *arg, const struct pack_sight *s)
{
    struct packs *p = arg;
    if (!s->rec || s->code < 0)
        return 0;
    AUTO(buf_release) struct buf b = BUF_INIT(PACK_CONTENT_MAX);
    int r = pack_read(p, &s->rec->at, s->rec->kind, &s->rec->id, &b);
    assert(r == 0 && b.len == s->len && memcmp(b.data, s->data, b.len) == 0);
    struct pack_content c;
    if (s->rec->kind == PACK_CONTENT)
        r = pack_content_get(&s->rec->id, s->data, s->len, &c);
    assert(s->rec->kind != PACK_CONTENT || (r == 0 && (!c.origin.len || path_check(c.origin.path, c.origin.len) == 0)));
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct packs *p;
    if (size < 1)
        return 0;
    uint8_t *pack = malloc(size);
    assert(pack);
    memcpy(pack, data, size);
    mend_heads(pack + 1, size - 1, data[0]);
    file_of("p-00000001", pack + 1, size - 1);
    free(pack);
    int dir = open(file_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = packs_open(&dir, &p);
    assert(r == 0);
    r = pack_scan(p, 1, 0, see, p);
    assert(r <= 0);
    packs_close(&p);
    return 0;
}
