/* The pure parts of the command line: words and options, durations and times, paths, progress. */
#include "cli/args.h"
#include "cli/progress.h"
#include "cli/when.h"
#include "cli/where.h"
#include "tests/unit/t.h"

static int nothing(struct cli *c, const struct args *a)
{
    (void)c;
    (void)a;
    return 0;
}
static const struct cli_option cat_options[] = { { "version", "ID", "" }, { "peer", "X", "" }, { "flag", NULL, "" }, { 0 } };
static const struct command commands[] = {
    { "cat", "PATH", "", "", cat_options, 1, 2, true, nothing },
    { "status", "", "", "", NULL, 0, 0, false, nothing },
    { 0 },
};

static int parse(struct args *a, const char *line)
{
    char *argv[16], *copy = xstrdup(line);
    static char *kept; /* the words must live as long as `a` */
    int argc = 0;
    free(kept);
    kept = copy;
    char *save;
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
        argv[argc++] = word;
    return args_parse(a, commands, argc, argv);
}

static void test_options_anywhere(void)
{
    struct args a;
    EQ_I(parse(&a, "lanyard --home /h --json cat --peer=1 x --flag --peer 2 -- --y"), 0);
    EQ_S(a.command->name, "cat");
    EQ_S(a.home, "/h");
    CHECK(a.json && !a.version && !a.help);
    EQ_I(a.words, 2);
    EQ_S(args_word(&a, 1), "--y");
    CHECK(!args_word(&a, 2));
    EQ_I(a.givens, 3);
    EQ_S(args_value(&a, "peer"), "2");
    CHECK(args_has(&a, "flag") && !args_has(&a, "version"));
    args_release(&a);
    EQ_I(parse(&a, "lanyard status --home=/g -h"), 0);
    EQ_S(a.home, "/g");
    CHECK(a.help);
    args_release(&a);
}

static void test_own_options_come_first(void)
{
    struct args a;
    EQ_I(parse(&a, "lanyard cat x --version 5"), 0);
    EQ_S(args_value(&a, "version"), "5");
    CHECK(!a.version);
    args_release(&a);
    EQ_I(parse(&a, "lanyard status --version"), 0);
    CHECK(a.version);
    args_release(&a);
}

static void wrong(const char *line, const char *words)
{
    struct args a;
    int code = parse(&a, line);
    if (!code)
        code = args_check(&a);
    args_release(&a);
    EQ_I(code, EXIT_USAGE);
    if (!strstr(err_text(), words))
        T_FAIL("\"%s\" lacks \"%s\"", err_text(), words);
}

static void test_wrong_usage(void)
{
    wrong("lanyard statsu", "unknown command \"statsu\": did you mean \"status\"?");
    wrong("lanyard frobnicate", "unknown command \"frobnicate\": `lanyard help`");
    wrong("lanyard cat --versoin 1 x", "unknown option --versoin: did you mean --version?");
    wrong("lanyard cat --flgg=3 x", "unknown option --flgg: did you mean --flag?");
    wrong("lanyard --jsn", "unknown option --jsn: did you mean --json?");
    wrong("lanyard cat -x y", "unknown option -x");
    wrong("lanyard --peer 1 cat x", "unknown option --peer");
    wrong("lanyard cat x --peer", "--peer lacks its value");
    wrong("lanyard cat x --flag=1", "--flag takes no value");
    wrong("lanyard cat", "missing");
    wrong("lanyard cat 1 2 3", "\"3\" is one word too many");
    wrong("lanyard cat x --json", "cat has no --json");
}

static void test_durations(void)
{
    static const struct { const char *text; int64_t ms; } good[] = {
        { "0", 0 }, { "90", 90000 }, { "0.5", 500 }, { "90s", 90000 }, { "15m", 900000 }, { "15min", 900000 }, { "2h", 7200000 },
        { "1h30m", 5400000 }, { "1.5h", 5400000 }, { "1d", 86400000 }, { "1w", 604800000 }, { "250ms", 250 },
    };
    static const char *const bad[] = { "", "s", "-1", "+1", "1x", "1h30", "1 h", "1..5", ".", "nan", "1e9",
                                "0x10", "999999999w", "h1" };
    int64_t ms = -7;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (!when_duration(good[i].text, &ms))
            T_FAIL("\"%s\" was refused", good[i].text);
        EQ_I(ms, good[i].ms);
    }
    ms = -7;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (when_duration(bad[i], &ms) || ms != -7)
            T_FAIL("\"%s\" was taken as %" PRId64, bad[i], ms);
}

static void test_times(void)
{
    static const struct { const char *text; int64_t ms; } good[] = {
        { "1970-01-01T00:00:00Z", 0 }, { "2026-11-21T10:56:00Z", 1795258560000 }, { "2026-11-21 10:56:00z", 1795258560000 },
        { "2026-11-21T11:56:00+01:00", 1795258560000 }, { "2026-11-21T09:26:00.25-01:30", 1795258560250 },
        { "2024-02-29T00:00:00.1239Z", 1709164800123 }, { "1969-12-31T23:59:59Z", -1000 },
    };
    static const char *const bad[] = {
        "", "2026-11-21", "2026-11-21T10:56:00", "2026-11-21T10:56Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00+1:00", "2026-01-01T00:00:00Zx", "26-01-01T00:00:00Z", "yesterday",
    };
    int64_t ms = -7;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (!when_time(good[i].text, strlen(good[i].text), &ms))
            T_FAIL("\"%s\" was refused", good[i].text);
        EQ_I(ms, good[i].ms);
    }
    ms = -7;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (when_time(bad[i], strlen(bad[i]), &ms) || ms != -7)
            T_FAIL("\"%s\" was taken as %" PRId64, bad[i], ms);
}

static void test_relative_times(void)
{
    char out[WHEN_TEXT];
    int64_t now = 1795258560000, min = 60000, day = 1440 * min;
    EQ_S(when_relative(now, now, out), "just now");
    EQ_S(when_relative(now - 59999, now, out), "59 s ago");
    EQ_S(when_relative(now - min, now, out), "1 min ago");
    EQ_S(when_relative(now + 15 * min, now, out), "in 15 min");
    EQ_S(when_relative(now - 47 * 60 * min, now, out), "47 h ago");
    EQ_S(when_relative(now - 3 * day, now, out), "3 days ago");
    CHECK(strncmp(when_relative(now - 60 * day, now, out), "2026-09-2", 9) == 0);
    EQ_S(when_span(1, out), "1 s");
    EQ_S(when_span(130000, out), "2 min 10 s");
    EQ_S(when_span(3900000, out), "1 h 5 min");
    EQ_S(when_span(3 * day, out), "3 days");
}

static const char *where(const char *folder, const char *cwd, const char *typed)
{
    static char result[256];
    AUTO(buf_release) struct buf b = BUF_INIT(4096);
    if (where_path(folder, cwd, typed, &b) != 0) {
        EQ_U(b.len, 0);
        return "refused";
    }
    snprintf(result, sizeof result, "%s", (const char *)b.data);
    EQ_U(strlen(result), b.len);
    return result;
}

static void test_paths(void)
{
    EQ_S(where("/f", "/elsewhere", "a/b"), "a/b");
    EQ_S(where("/f", "/elsewhere", "./a//b/"), "a/b");
    EQ_S(where("/f", NULL, "a/../b"), "b");
    EQ_S(where("/f", "/f", "a"), "a");
    EQ_S(where("/f", "/f/sub", "a"), "sub/a");
    EQ_S(where("/f", "/f/sub", "../a"), "a");
    EQ_S(where("/f", "/f/sub", "."), "sub");
    EQ_S(where("/f", "/f/sub", ".."), "");
    EQ_S(where("/f", "/f/sub", "../.."), "refused");
    EQ_S(where("/f", "/f/sub", "/f/a"), "a");
    EQ_S(where("/f", "/f/sub", "/f"), "");
    EQ_S(where("/f", "/f", "/fa"), "refused");
    EQ_S(where("/f", "/f", "/g/a"), "refused");
    EQ_S(where("/f", "/fa", "x"), "x");
    EQ_S(where("/f", "/f", "/f/../f/./a"), "a");
    EQ_S(where("/f/", "/f/s", "a"), "s/a");
    EQ_S(where("/f", "/f", "../../../a"), "refused");
    EQ_S(where("/f", "/f", ""), "refused");
    EQ_S(where("/", "/tmp", "a"), "tmp/a");
    EQ_S(where("/f", "/f", "..."), "...");
}

static const char *bar(const struct progress *p, size_t width)
{
    static char text[128];
    AUTO(buf_release) struct buf b = BUF_INIT(1024);
    progress_put(p, width, &b);
    snprintf(text, sizeof text, "%.*s", (int)b.len, b.data ? (const char *)b.data : "");
    return text;
}

static void test_progress(void)
{
    struct progress p = { 0 };
    EQ_S(bar(&p, 4), "");
    progress_look(&p, 1000, 4096);
    EQ_S(bar(&p, 4), "[....] 0 %, 4.0 KiB left");
    EQ_I(progress_eta(&p), -1);
    progress_look(&p, 2000, 3072);
    EQ_S(bar(&p, 4), "[#...] 25 %, 3.0 KiB left, 1.0 KiB/s, 3 s");
    EQ_S(bar(&p, 0), "25 %, 3.0 KiB left, 1.0 KiB/s, 3 s");
    progress_look(&p, 3000, 7168); /* 4 KiB more came in */
    EQ_S(bar(&p, 4), "[....] 12 %, 7.0 KiB left, 1.0 KiB/s, 7 s");
    progress_look(&p, 4000, 0);
    EQ_S(bar(&p, 4), "");
    progress_look(&p, 5000, 100);
    EQ_S(bar(&p, 4), "[....] 0 %, 100 B left");
}

static void test_stalled_progress(void)
{
    struct progress p = { 0 };
    progress_look(&p, 0, 2000000);
    progress_look(&p, 1000, 1000000);
    for (int i = 2; i < 200; i++)
        progress_look(&p, i * 1000, 1000000);
    EQ_I(progress_eta(&p), -1);
    progress_look(&p, 199000, 1000000); /* twice at the same time */
    EQ_U(p.left, 1000000);
}

int main(void)
{
    RUN(test_options_anywhere);
    RUN(test_own_options_come_first);
    RUN(test_wrong_usage);
    RUN(test_durations);
    RUN(test_times);
    RUN(test_relative_times);
    RUN(test_paths);
    RUN(test_progress);
    RUN(test_stalled_progress);
    return t_done();
}
