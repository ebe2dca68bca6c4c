/* t_app: a program that uses a SQLite database, for tests. It is a process of its own: locks are a process's, and a test that looked at the
 * files would drop those of a connection of its own. A program of tests that uses this has `int main(int argc, char **argv)` and begins
 * it with APP_HELPER, since the helper process of store/database.h is the same program again. */
#ifndef TESTS_UNIT_T_APP_H
#define TESTS_UNIT_T_APP_H

#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/database.h"
#include "tests/unit/folder_fixture.h"

#define APP_HELPER(argc, argv) do { if ((argc) > 1 && strcmp((argv)[1], DATABASE_HELPER) == 0) return database_helper((argc), (argv)); } while (0)

static struct app { pid_t pid; int to, from; } app;

static inline void app_serve(const char *path, int from, int to)
{
    sqlite3 *db = NULL;
    char sql[4096];
    if (sqlite3_open(path, &db) != SQLITE_OK)
        _exit(2);
    for (ssize_t n; (n = read(from, sql, sizeof sql - 1)) > 0; ) {
        sql[n] = '\0';
        char rc = (char)sqlite3_exec(db, sql, NULL, NULL, NULL);
        if (write(to, &rc, 1) != 1)
            break;
    }
    sqlite3_close(db);
    _exit(0);
}
/* Opens the database at a path of the folder, which it makes. */
static inline void app_start(const char *path)
{
    int to[2], from[2];
    OK(pipe2(to, O_CLOEXEC));
    OK(pipe2(from, O_CLOEXEC));
    app.pid = fork();
    if (app.pid == 0) {
        close(to[1]);
        close(from[0]);
        app_serve(full(path), to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    app.to = to[1];
    app.from = from[0];
}
static inline void app_do(const char *sql)
{
    char rc = 1;
    EQ_I(write(app.to, sql, strlen(sql)), strlen(sql));
    EQ_I(read(app.from, &rc, 1), 1);
    if (rc)
        T_FAIL("%s: %s", sql, sqlite3_errstr(rc));
}
static inline void app_end(int sig)
{
    if (!app.pid)
        return;
    if (sig)
        kill(app.pid, sig);
    close(app.to);
    close(app.from);
    waitpid(app.pid, NULL, 0);
    app = (struct app){0};
}
/* Two tables whose sums are equal after each whole transaction. */
#define APP_TABLES "CREATE TABLE a(id INTEGER PRIMARY KEY, n INT, fill BLOB); CREATE TABLE b(id INTEGER PRIMARY KEY, n INT, fill BLOB);"
#define APP_ADD(n) "BEGIN; INSERT INTO a(n, fill) VALUES (" #n ", randomblob(3000)); INSERT INTO b(n, fill) VALUES (" #n ", randomblob(3000)); COMMIT;"

static inline int app_number(void *arg, int n, char **v, char **names)
{
    (void)n, (void)names;
    *(int64_t *)arg = v[0] ? strtoll(v[0], NULL, 10) : 0;
    return 0;
}
static inline int64_t app_ask(sqlite3 *db, const char *sql)
{
    int64_t answer = -1;
    if (sqlite3_exec(db, sql, app_number, &answer, NULL) != SQLITE_OK)
        T_FAIL("%s: %s", sql, sqlite3_errmsg(db));
    return answer;
}
/* The sum of table a in a file of its own, which must be sound. */
static inline int64_t app_sum(const char *file)
{
    sqlite3 *db;
    EQ_I(sqlite3_open_v2(file, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    EQ_I(app_ask(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
    int64_t a = app_ask(db, "SELECT sum(n) FROM a"), b = app_ask(db, "SELECT sum(n) FROM b");
    sqlite3_close(db);
    EQ_I(a, b);
    return a;
}

#endif
