#include "store/index_priv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/publish.h"
#include "store/sys.h"

#define PAGE_SIZE 8192
#define WAL_PAGES_MAX (32 * 1024 * 1024 / PAGE_SIZE)
#define SHRINK_PAGES 1024           /* 8 MiB: what is given back at once */
#define RESTING_CACHE (1 << 20)     /* bytes of pages that are held while nothing happens */

/* ---- creating ---- */

static int connect_to(struct index *ix, const char *file)
{
    /* SQLite would count its memory, under a lock, at every allocation. Only heeded before its first use in this process. */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    int r = sqlite3_open_v2(file, &ix->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (!ix->db)
        return err_set(ERR_IO, "index %s: no memory", ix->path);
    if (r != SQLITE_OK)
        return index_fail(ix);
    if (sqlite3_db_readonly(ix->db, "main"))
        return err_set(ERR_IO, "index %s: read-only: check its permissions", ix->path);
    (void)sqlite3_busy_timeout(ix->db, 1000);   /* someone looks with the sqlite3 tool */
    return 0;
}

static void disconnect(struct index *ix)
{
    for (int i = 0; i < Q_COUNT; i++) {
        assert(!ix->busy[i]);   /* closed by one of its own callbacks */
        sqlite3_finalize(ix->stmt[i]);
        ix->stmt[i] = NULL;
    }
    int r = sqlite3_close(ix->db);
    assert(r == SQLITE_OK);
    ix->db = NULL;
}

/* Built under another name, without a journal: if we die half-way there is only a leftover that the next attempt removes. */
static int create_file(const char *path, const struct id *group)
{
    AUTO(buf_release) struct buf name = BUF_INIT(LIMIT_PATH + 16);
    buf_addf(&name, "%s.new%c", path, '\0');
    if (!buf_ok(&name))
        return err_set(ERR_BAD, "index: the name is too long");
    const char *tmp = (const char *)name.data;
    struct index fresh = { .path = (char *)(uintptr_t)path };
    beside_remove(path);
    (void)unlink(tmp);
    int fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);   /* names of files are nobody else's business */
    if (fd < 0)
        return err_set(ERR_IO, "index %s: %m", tmp);
    (void)close(fd);
    int rc = connect_to(&fresh, tmp);
    if (rc == 0)
        rc = index_exec(&fresh, "PRAGMA journal_mode = OFF; PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL");
    if (rc == 0)
        rc = schema_create(&fresh, group);
    disconnect(&fresh);
    if (rc == 0)
        return publish(tmp, path);
    (void)unlink(tmp);
    return rc;
}

/* ---- opening ---- */

int index_foreign(const char *path, const char *why)
{
    return err_set(ERR_CORRUPT, "index %s: %s: " INDEX_REMEDY, path, why);
}

/* Looks at the header without SQLite, which would touch a foreign database: create files beside it, roll its journal back. The
 * process must have no other connection to this file: closing a descriptor drops the locks of all (POSIX). */
static int check_header(const char *path)
{
    uint8_t h[100] = { 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_set(errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "index %s: %m", path);
    ssize_t n = pread(fd, h, sizeof h, 0);
    int rc = n < 0 ? err_set(ERR_IO, "index %s: %m", path) : 0;
    (void)close(fd);
    if (rc != 0)
        return rc;
    if (n < (ssize_t)sizeof h || memcmp(h, "SQLite format 3", 16) != 0)
        return index_foreign(path, "not a database");
    uint32_t app = (uint32_t)h[68] << 24 | (uint32_t)h[69] << 16 | (uint32_t)h[70] << 8 | h[71];
    if (app != APPLICATION_ID)
        return index_foreign(path, "another program's database");
    return h[18] <= 2 && h[19] <= 2 ? 0 : index_foreign(path, "damaged");   /* format versions: above 2 SQLite would not write */
}

/* Whether it is an index, of this schema, of this group, and sound. Nothing is written before that. */
static int check_content(struct index *ix, const struct id *group, bool quick_check)
{
    char hex[ID_HEX], text[128];
    int64_t version, ours, faults = 0;
    int rc = index_ask(ix, "PRAGMA user_version", &version);
    if (rc != 0)
        return rc;
    if (version < 1 || version > SCHEMA_VERSION)
        return err_set(ERR_CORRUPT, "index %s: of schema %lld, this program knows %d: use the newer version of Lanyard, or %s",
                       ix->path, (long long)version, SCHEMA_VERSION, INDEX_REMEDY);
    snprintf(text, sizeof text, "SELECT count(*) FROM meta WHERE group_id = x'%s'", id_hex(group, hex));
    if ((rc = index_ask(ix, text, &ours)) != 0)
        return rc;
    if (ours != 1)
        return index_foreign(ix->path, "belongs to another group");
    if (quick_check)
        rc = index_ask(ix, "SELECT count(*) FROM pragma_quick_check(1) WHERE quick_check <> 'ok'", &faults);
    return rc == 0 && faults ? index_foreign(ix->path, "failed its integrity check") : rc;
}

static int load_wanted(struct index *ix)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_WANT_SIZES);
    int rc;
    while ((rc = q_step(&q)) == 1) {   /* not sum() of SQL, which fails when it overflows */
        ix->want.n++;
        ix->want.bytes += q_u64(&q);
        ix->want.removals += q_int(&q) == KIND_TOMBSTONE;
    }
    return rc;
}

static int on_commit(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct index *ix = arg;
    (void)db, (void)name;
    ix->wal_pages = pages;
    return SQLITE_OK;
}

static int start(struct index *ix, const struct id *group, bool quick_check)
{
    (void)sqlite3_db_config(ix->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);   /* a refused file stays as it is */
    int rc = index_exec(ix, "PRAGMA cache_size = -16384; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY;"
                      "PRAGMA secure_delete = OFF; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON");
    if (rc == 0)
        rc = check_content(ix, group, quick_check);
    if (rc == 0)
        rc = index_exec(ix, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0");
    if (rc == 0)
        rc = schema_upgrade(ix);
    if (rc == 0)
        rc = index_prepare(ix);
    if (rc == 0)
        rc = load_wanted(ix);
    (void)sqlite3_wal_hook(ix->db, on_commit, ix);
    ix->wal_pages = 1;   /* whatever an earlier run has left */
    if (rc == 0)
        (void)sqlite3_db_config(ix->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return rc;
}

int index_open(const char *path, const struct id *group, bool quick_check, struct index **out)
{
    bool memory = strcmp(path, ":memory:") == 0;
    *out = NULL;
    int rc = memory ? 0 : check_header(path);
    if (rc == ERR_NOTFOUND)
        rc = create_file(path, group);
    if (rc != 0)
        return rc;
    if (!memory && (rc = beside_prepare(path)) < 0)
        return rc;
    struct index *ix = xcalloc(1, sizeof *ix);
    ix->path = xstrdup(path);
    rc = connect_to(ix, path);
    if (rc == 0 && memory)
        rc = schema_create(ix, group);
    if (rc == 0)
        rc = start(ix, group, quick_check);
    if (rc == 0)
        *out = ix;
    else
        index_close(&ix);
    return rc;
}

void index_close(struct index **ix)
{
    if (!*ix)
        return;
    index_rollback(*ix);
    disconnect(*ix);   /* the last connection: SQLite checkpoints and removes the WAL */
    free((*ix)->path);
    free(*ix);
    *ix = NULL;
}

/* ---- transactions ---- */

int index_begin(struct index *ix)
{
    assert(ix->state == IX_IDLE);
    int rc = index_exec(ix, "BEGIN IMMEDIATE");
    if (rc != 0)
        return rc;
    ix->state = IX_TX;
    ix->want_at_begin = ix->want;
    return 0;
}

int index_commit(struct index *ix)
{
    assert(index_in_tx(ix));
    if (ix->state == IX_FAILED)
        return err_set(ix->failed, "index %s: a write of this transaction failed: roll it back", ix->path);
    int rc = index_exec(ix, "COMMIT");
    if (rc == 0)
        ix->state = IX_IDLE;
    return rc;
}

void index_rollback(struct index *ix)
{
    if (ix->state == IX_IDLE)
        return;
    if (!sqlite3_get_autocommit(ix->db))   /* after some failures SQLite has done it by itself */
        (void)sqlite3_exec(ix->db, "ROLLBACK", NULL, NULL, NULL);
    if (ix->state != IX_READ)
        ix->want = ix->want_at_begin;
    ix->state = IX_IDLE;
}

bool index_in_tx(const struct index *ix)
{
    return ix->state == IX_TX || ix->state == IX_FAILED;
}

int index_read_begin(struct index *ix)
{
    assert(ix->state == IX_IDLE);
    int rc = index_exec(ix, "BEGIN");
    if (rc == 0)
        ix->state = IX_READ;
    return rc;
}

void index_read_end(struct index *ix)
{
    assert(ix->state == IX_READ);
    index_rollback(ix);   /* there is nothing to be lost */
}

/* When more than a fiftieth of the pages is free (a large want list has been worked off), gives 8 MiB back. *more: there is more. */
static int shrink(struct index *ix, bool *more)
{
    int64_t unused, pages;
    int rc = index_ask(ix, "PRAGMA freelist_count", &unused);
    if (rc == 0)
        rc = index_ask(ix, "PRAGMA page_count", &pages);
    if (rc != 0 || unused <= pages / 50)
        return rc;
    char text[64];
    snprintf(text, sizeof text, "PRAGMA incremental_vacuum(%d)", SHRINK_PAGES);
    *more = unused > SHRINK_PAGES;
    return index_exec(ix, text);
}

int index_checkpoint(struct index *ix, bool idle)
{
    assert(ix->state == IX_IDLE);
    bool more = false;
    if (ix->wal_pages == 0 || (!idle && ix->wal_pages <= WAL_PAGES_MAX))
        return 0;
    int rc = idle ? shrink(ix, &more) : 0;
    if (rc != 0)
        return rc;
    int r = sqlite3_wal_checkpoint_v2(ix->db, NULL, idle ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (r == SQLITE_BUSY || r == SQLITE_LOCKED)
        return 0;   /* a reader holds on to it: next time */
    if (r != SQLITE_OK)
        return index_fail(ix);
    ix->wal_pages = more;   /* not nothing: the next call goes on */
    return 0;
}

size_t index_rest(struct index *ix)
{
    int used = 0, most;
    (void)sqlite3_db_status(ix->db, SQLITE_DBSTATUS_CACHE_USED, &used, &most, 0);
    if (used <= RESTING_CACHE)
        return 0;
    (void)sqlite3_db_release_memory(ix->db);
    return (size_t)used;
}

/* ---- small values ---- */

int index_kv_put(struct index *ix, const char *key, const void *v, size_t len)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_KV_PUT);
    q_put_text(&q, key);
    q_put_bytes(&q, v, len);
    return q_run(&q);
}

int index_kv_get(struct index *ix, const char *key, struct buf *out)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_KV_GET);
    buf_clear(out);
    q_put_text(&q, key);
    int rc = q_row(&q);
    if (rc != 0)
        return rc;
    q_copy(&q, out);
    return q.rc;
}

int index_kv_del(struct index *ix, const char *key)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_KV_DEL);
    q_put_text(&q, key);
    return q_run(&q);
}

/* ---- receipts ---- */

int index_receipt_put(struct index *ix, const struct ix_receipt *r)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_RECEIPT_PUT);
    q_put_bytes(&q, r->req, sizeof r->req);
    q_put_bytes(&q, r->dev.b, ID_LEN);
    q_put_bytes(&q, r->vec.p, r->vec.len);
    return q_run(&q);
}

int index_receipt_del(struct index *ix, const uint8_t req[static 16])
{
    AUTO(q_end) struct query q = q_begin(ix, Q_RECEIPT_DEL);
    q_put_bytes(&q, req, 16);
    return q_run(&q);
}

int index_receipt_each(struct index *ix, int (*row)(void *, const struct ix_receipt *), void *arg)
{
    AUTO(q_end) struct query q = q_begin(ix, Q_RECEIPT_EACH);
    int rc;
    while ((rc = q_step(&q)) == 1) {
        struct ix_receipt r;
        q_exact(&q, r.req, sizeof r.req);
        q_exact(&q, r.dev.b, ID_LEN);
        r.vec = q_bytes(&q);
        if ((rc = q.rc) != 0 || (rc = row(arg, &r)) != 0)
            return rc;
    }
    return rc;
}
