#include "store/ignore.h"
#include "tests/unit/ignore_cases.h"
#include "tests/unit/t.h"

/* A copy that ends where its memory ends, so that the sanitizer sees a read behind it. */
static char *exact(const char *s, size_t len)
{
    char *copy = malloc(len ? len : 1);
    if (len)
        memcpy(copy, s, len);
    return copy;
}

static struct ignore *load(const char *rules)
{
    struct ignore *ig = ignore_new();
    AUTOFREE char *text = exact(rules, strlen(rules));
    OK(ignore_load(ig, text, strlen(rules), "rules"));
    return ig;
}

/* What a walk from the top down finds: an ignored directory is not entered. */
static bool walk_ignores(const struct ignore *ig, const char *path, size_t len, bool is_dir)
{
    for (size_t i = 1; i < len; i++)
        if (path[i] == '/' && ignore_match(ig, path, i, true))
            return true;
    return ignore_match(ig, path, len, is_dir);
}

/* `spec` is a path with '+' or '-' before it, and '/' behind it for a directory. */
static void check_path(const struct ignore *ig, const char *rules, const char *spec, size_t len)
{
    bool is_dir = spec[len - 1] == '/', want = *spec == '+';
    size_t n = len - 1 - is_dir;
    AUTOFREE char *path = exact(spec + 1, n);
    if (ignore_match_deep(ig, path, n, is_dir) != want)
        T_FAIL("rules \"%s\": %.*s", rules, (int)len, spec);
    CHECK(walk_ignores(ig, path, n, is_dir) == want);
}

static void check_case(const struct ignore *ig, const struct ignore_case *c)
{
    for (const char *p = c->paths; *p;) {
        size_t len = strcspn(p, "|");
        check_path(ig, c->rules, p, len);
        p += len + (p[len] == '|');
    }
}

static void check_table(const struct ignore_case *table, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct ignore *ig = load(table[i].rules);
        check_case(ig, &table[i]);
        ignore_free(&ig);
    }
}

static void chosen_cases_are_as_in_git(void)
{
    check_table(CHOSEN, sizeof CHOSEN / sizeof *CHOSEN);
}

static void random_cases_are_as_in_git(void)
{
    check_table(RANDOM, sizeof RANDOM / sizeof *RANDOM);
}

static bool ignored(const struct ignore *ig, const char *path)
{
    return ignore_match_deep(ig, path, strlen(path), false);
}

static void without_rules_nothing_is_ignored(void)
{
    struct ignore *ig = ignore_new();
    CHECK(!ignored(ig, "a") && !ignored(ig, "a/b"));
    OK(ignore_load(ig, NULL, 0, "rules"));
    CHECK(!ignored(ig, "a") && !ignored(ig, "a/b"));
    ignore_free(&ig);
    CHECK(!ig);
    ignore_free(&ig);
}

static void a_file_loaded_later_overrides(void)
{
    struct ignore *ig = load("*.o\na/\n");
    OK(ignore_load(ig, "!keep.o\n[k]ept", 14, "local"));
    CHECK(ignored(ig, "x.o") && !ignored(ig, "keep.o") && ignored(ig, "kept") && ignored(ig, "a/keep.o"));
    OK(ignore_load(ig, "*.o", 3, "third"));
    CHECK(ignored(ig, "keep.o"));
    ignore_free(&ig);
}

/* Loading the random rules file by file is the same as loading the files as one. */
static void several_files_are_one(void)
{
    uint64_t seed = 1;
    size_t n = sizeof RANDOM / sizeof *RANDOM;
    for (int round = 0; round < 300; round++) {
        struct ignore *parts = ignore_new();
        char whole[4096] = "";
        size_t at = 0;
        for (int i = 0; i < 3; i++) {
            const char *rules = RANDOM[t_rand(&seed) % n].rules;
            OK(ignore_load(parts, rules, strlen(rules), "part"));
            at += (size_t)snprintf(whole + at, sizeof whole - at, "%s\n", rules);
        }
        struct ignore *one = load(whole);
        for (int i = 0; i < 20; i++) {
            static const char *const name[] = { "a", "b", "ab", "a.c", "b.c", "abc", "[a", "-", "\xff" };
            char path[64];
            snprintf(path, sizeof path, "%s/%s/%s", name[t_rand(&seed) % 9], name[t_rand(&seed) % 9], name[t_rand(&seed) % 9]);
            CHECK(ignored(parts, path) == ignored(one, path));
        }
        ignore_free(&parts);
        ignore_free(&one);
    }
}

static void every_byte_stands_for_itself(void)
{
    for (int c = 1; c < 256; c++) {
        if (c == '/')
            continue;
        char rule[] = { '\\', (char)c, 'x', '\0' }, set[] = { '[', '\\', (char)c, ']', 'x', '\0' };
        char same[] = { (char)c, 'x', '\0' }, other[] = { (char)(c == 1 ? 2 : c - 1), 'x', '\0' };
        if (c != '\n') {
            struct ignore *ig = load(rule);
            CHECK(ignored(ig, same) && !ignored(ig, other));
            ignore_free(&ig);
            ig = load(set);
            CHECK(ignored(ig, same) && !ignored(ig, other));
            ignore_free(&ig);
        }
        struct ignore *any = load("[!/]x\n");
        CHECK(ignored(any, same));
        ignore_free(&any);
    }
}

static void bad_files_are_refused_whole(void)
{
    struct ignore *ig = load("[a]\n*b");
    FAILS(ignore_load(ig, "c\nd\0e\nf", 7, ".lanyardignore"), ERR_BAD, ".lanyardignore: line 2: a NUL byte");
    CHECK(ignored(ig, "a") && ignored(ig, "xb") && !ignored(ig, "c") && !ignored(ig, "f"));

    AUTOFREE char *line = xcalloc(IGNORE_LINE + 10, 1);
    memset(line, 'x', IGNORE_LINE + 2);
    line[1] = '\n';
    OK(ignore_load(ig, line, IGNORE_LINE + 2, "R"));
    line[IGNORE_LINE + 2] = 'x';
    FAILS(ignore_load(ig, line, IGNORE_LINE + 3, "R"), ERR_BAD, "R: line 2: a rule of 4097 bytes");
    line[2] = '#';
    OK(ignore_load(ig, line, IGNORE_LINE + 3, "R"));

    AUTOFREE char *text = xcalloc(IGNORE_TEXT + 1, 1);
    memset(text, '\n', IGNORE_TEXT + 1);
    OK(ignore_load(ig, text, IGNORE_TEXT, "R"));
    FAILS(ignore_load(ig, text, IGNORE_TEXT + 1, "R"), ERR_BAD, "R: 1048577 bytes");
    ignore_free(&ig);

    ig = ignore_new();
    for (size_t i = 0; i < 2 * IGNORE_RULES; i += 2)
        text[i] = 'a';
    text[2 * IGNORE_RULES] = 'c';
    FAILS(ignore_load(ig, text, 2 * IGNORE_RULES + 1, "R"), ERR_BAD, "R: line 4097: more than 4096 rules");
    CHECK(!ignored(ig, "a"));
    OK(ignore_load(ig, text, 2 * IGNORE_RULES, "R"));
    OK(ignore_load(ig, "b", 1, "R"));            /* the next text has room of its own */
    CHECK(ignored(ig, "a") && ignored(ig, "b") && !ignored(ig, "c"));
    ignore_free(&ig);

    ig = load("x");
    size_t len = 0;                              /* a line of the longest with one set for every three bytes */
    for (int i = 0; i < 256; i++) {
        for (int k = 0; k < 1365; k++, len += 3)
            memcpy(text + len, "[a]", 3);
        text[len - 3] = '\n', len -= 2;
    }
    OK(ignore_load(ig, text, len, "R"));
    OK(ignore_load(ig, text, len, "R"));         /* and memory */
    OK(ignore_load(ig, "y", 1, "R"));
    CHECK(ignored(ig, "x") && ignored(ig, "y"));
    ignore_free(&ig);
}

/* `times` times s and then `last`, at text. */
static void repeat(char *text, const char *s, size_t times, const char *last)
{
    for (size_t len = strlen(s); times > 0; times--, text += len)
        memcpy(text, s, len);
    memcpy(text, last, strlen(last) + 1);
}

/* Rules that would take the age of the universe if every way to match were tried. */
static void hostile_rules_end(void)
{
    char rule[4000], path[4000];
    repeat(rule, "a*", 100, "b");
    repeat(path, "a", 250, "");
    struct ignore *ig = load(rule);
    CHECK(!ignored(ig, path));
    path[249] = 'b';
    CHECK(ignored(ig, path));
    ignore_free(&ig);

    repeat(rule, "**/a*a*/", 300, "b");
    repeat(path, "aaa/", 900, "aaa");
    ig = load(rule);
    CHECK(!ignored(ig, path));
    repeat(path, "aaa/", 900, "b");
    CHECK(ignored(ig, path));
    ignore_free(&ig);

    repeat(rule, "[:", 1900, "x]");              /* one set; each of these might begin a class */
    ig = load(rule);
    CHECK(ignored(ig, "[") && ignored(ig, ":") && !ignored(ig, "a"));
    ignore_free(&ig);
}

int main(void)
{
    RUN(chosen_cases_are_as_in_git);
    RUN(random_cases_are_as_in_git);
    RUN(without_rules_nothing_is_ignored);
    RUN(a_file_loaded_later_overrides);
    RUN(several_files_are_one);
    RUN(every_byte_stands_for_itself);
    RUN(bad_files_are_refused_whole);
    RUN(hostile_rules_end);
    return t_done();
}
