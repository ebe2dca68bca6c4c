#include "node/continuity.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "node/file.h"
#include "node/log.h"
#include "node/loop.h"

enum { TOKEN_LEN = 16, TOKEN_MODE = 0600 };
#define KEY "token"

/* n = 0: there is none. */
struct token { uint8_t b[TOKEN_LEN]; size_t n; };

static char *in_home(const struct home *h) { return home_file(h, "token"); }

static char *in_folder(const struct folder *f)
{
    AUTOFREE char *own = file_in(folder_path(f), ".lanyard");
    return file_in(own, "token");
}

static struct token token_of(const struct buf *b, int r)
{
    struct token t = {.n = 0};
    if (r < 0 && r != ERR_NOTFOUND)
        t.n = TOKEN_LEN;                 /* there, but not to be read: like no other */
    if (r == 0 && b->len == TOKEN_LEN) {
        memcpy(t.b, b->data, TOKEN_LEN);
        t.n = TOKEN_LEN;
    }
    return t;
}

static struct token token_read(const char *path)
{
    AUTO(buf_release) struct buf b = BUF_INIT(2 * TOKEN_LEN);
    return token_of(&b, file_read(path, false, &b, NULL));
}

static bool same(const struct token *a, const struct token *b)
{
    return a->n == b->n && memcmp(a->b, b->b, sizeof a->b) == 0;
}

static const char *compare(const struct token *index, const struct token *home, const struct token *folder)
{
    if (same(index, home) && same(home, folder))
        return NULL;
    if (!index->n)
        return "the index was lost";
    if (!folder->n || same(index, home))
        return "the folder is another one, or an older copy";
    return same(home, folder) ? "the index is an older copy" : "the home is an older copy";
}

/* 1 when the disk does not take it: then nothing has changed, or there will be a needless doubt. */
static int write_files(const char *home, const char *folder, const struct token *t)
{
    int r = file_replace(folder, t->b, TOKEN_LEN, TOKEN_MODE);
    if (r == 0)
        r = file_replace(home, t->b, TOKEN_LEN, TOKEN_MODE);
    if (r < 0)
        log_warn("continuity token not renewed why=\"%s\"", err_text());
    return r < 0;
}

static int renew(const char *home, const char *folder, struct index *ix, struct engine *e, bool doubt)
{
    struct token t = {.n = TOKEN_LEN};
    randombytes_buf(t.b, sizeof t.b);
    bool files = write_files(home, folder, &t) == 0;
    if (!files && !doubt)
        return 0;
    int r = engine_begin(e);
    if (r < 0)
        return r;
    if (doubt)
        r = engine_doubt(e);
    if (r == 0 && files)
        r = index_kv_put(ix, KEY, t.b, TOKEN_LEN);
    if (r == 0)
        return engine_commit(e, loop_wall());
    engine_rollback(e);
    return r;
}

int continuity_check(const struct home *h, const struct folder *f, struct index *ix, struct engine *e, const char **doubt)
{
    AUTO(buf_release) struct buf b = BUF_INIT(2 * TOKEN_LEN);
    AUTOFREE char *home = in_home(h), *folder = in_folder(f);
    int r = index_kv_get(ix, KEY, &b);
    if (r < 0 && r != ERR_NOTFOUND)
        return r;
    struct token in_index = token_of(&b, r), at_home = token_read(home), at_folder = token_read(folder);
    *doubt = compare(&in_index, &at_home, &at_folder);
    return renew(home, folder, ix, e, *doubt != NULL);
}

int continuity_renew(const struct home *h, const struct folder *f, struct index *ix, struct engine *e)
{
    AUTOFREE char *home = in_home(h), *folder = in_folder(f);
    return renew(home, folder, ix, e, false);
}
