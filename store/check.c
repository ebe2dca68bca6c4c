#include "store/check.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/limits.h"

int check_index(const char *path)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    int r = sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    if (r == SQLITE_OK)
        r = sqlite3_exec(db, "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF", NULL, NULL, NULL);
    (void)sqlite3_busy_timeout(db, 5000);
    if (r == SQLITE_OK)
        r = sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &st, NULL);
    if (r == SQLITE_OK)
        r = sqlite3_step(st);
    const char *said = r == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : NULL;
    int code = 0;
    if (said && strcmp(said, "ok") != 0)
        code = err_set(ERR_CORRUPT, "index %s: %s", path, said);
    else if (!said)
        code = err_set(r == SQLITE_CORRUPT || r == SQLITE_NOTADB ? ERR_CORRUPT : r == SQLITE_BUSY ? ERR_AGAIN : ERR_IO, "index %s: %s", path,
                       db ? sqlite3_errmsg(db) : "no memory");
    sqlite3_finalize(st);
    (void)sqlite3_close(db);
    return code;
}

int check_content(int fd, const struct content_list *c, const _Atomic bool *stop, uint64_t *bytes)
{
    struct stat st;
    uint32_t n = c->refs ? c->nblocks : 1;
    uint64_t off = 0;
    if (fstat(fd, &st) < 0)
        return err_set(ERR_IO, "looking at it: %m");
    if ((uint64_t)st.st_size != c->size || (!c->refs && c->size > LIMIT_BLOCK))
        return err_set(ERR_CORRUPT, "has %lld bytes, not %llu", (long long)st.st_size, (unsigned long long)c->size);
    AUTOFREE uint8_t *data = xrealloc(NULL, LIMIT_BLOCK, 1);
    for (uint32_t i = 0; i < n; i++) {
        struct block_ref ref = {c->root, (uint32_t)c->size};
        if (c->refs)
            block_ref_get(c->refs + (size_t)i * BLOCK_REF, &ref);
        int r = *stop ? err_set(ERR_CLOSED, "stopped") : content_block(fd, off, ref.len, &ref.id, data);
        if (r < 0)
            return r;
        off += ref.len;
        *bytes += ref.len;
    }
    return 0;
}
