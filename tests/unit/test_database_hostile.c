/* store/database_helper.c: journals that were written to do harm. Whoever opens the database beside one plays it back. */
#include "tests/unit/t_app.h"

#include <stdatomic.h>

static const _Atomic bool go_on;
enum { PAGES_AT = 16 };              /* where a journal says how many pages the database had */

/* A program dies in a transaction of which half is in the file already. */
static struct database left(void)
{
    struct database d;
    begin();
    app_start("x.db");
    app_do(APP_TABLES APP_ADD(5) APP_ADD(6));
    app_do("PRAGMA cache_size=1; PRAGMA cache_spill=1; BEGIN; UPDATE a SET n = 1000;"
           "WITH RECURSIVE t(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM t WHERE i < 200) INSERT INTO a(n, fill) SELECT 1, randomblob(3000) FROM t");
    app_end(SIGKILL);
    OK(database_look(folder, "x.db", 4, &d));
    CHECK(d.logged);
    return d;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
    return p + 4;
}

static void write_journal(const void *bytes, size_t len, off_t at)
{
    int fd = open(full("x.db-journal"), O_WRONLY | O_CLOEXEC);
    EQ_I(pwrite(fd, bytes, len, at < 0 ? lseek(fd, 0, SEEK_END) : at), len);
    close(fd);
}

/* At its end: the file that the journals of one transaction over several databases have in common, deleted when they were played back. */
static void test_a_journal_that_names_a_file_to_delete(void)
{
    static const uint8_t magic[] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
    uint8_t end[4096] = {0}, *p = end + 4;
    uint32_t sum = 0;
    left();
    put("of-the-user", "nobody else's");
    const char *victim = full("of-the-user");
    uint32_t len = (uint32_t)strlen(victim);
    for (uint32_t i = 0; i < len; i++)
        sum += (uint8_t)victim[i];
    memcpy(p, victim, len);
    p = put32(put32(p + len, len), sum);
    memcpy(p, magic, sizeof magic);
    write_journal(end, (size_t)(p - end) + sizeof magic, -1);
    struct database d;
    OK(database_look(folder, "x.db", 4, &d));
    OK(database_snapshot(folder, "x.db", 4, &d, "s-1", &go_on));
    EQ_I(app_sum(full(".lanyard/tmp/s-1")), 11);
    EQ_S(get("of-the-user"), "nobody else's");
}

static void test_a_journal_of_a_database_of_terabytes(void)
{
    uint8_t pages[4];
    struct stamp st;
    put32(pages, 0x7fffffff);
    left();
    write_journal(pages, sizeof pages, PAGES_AT);
    struct database d;
    OK(database_look(folder, "x.db", 4, &d));
    EQ_I(database_snapshot(folder, "x.db", 4, &d, "s-1", &go_on), ERR_IO);
    OK(folder_stat(folder, "x.db", 4, &st));
    CHECK(st.size < 10000000 && access(full(".lanyard/tmp/s-1"), F_OK) != 0);
}

int main(int argc, char **argv)
{
    APP_HELPER(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    RUN(test_a_journal_that_names_a_file_to_delete);
    RUN(test_a_journal_of_a_database_of_terabytes);
    app_end(SIGKILL);
    finish_all();
    return t_done();
}
