/* node/config: defaults, what a line may be, what a value may be, and that setting one changes nothing else. */
#include "node/config.h"

#include "tests/unit/temp_dir.h"

static const char *path(void) { return in_temp("config"); }
static void file(const char *text) { temp_write("config", text, strlen(text)); }

static void test_defaults(void)
{
    temp_begin();
    file("folder = /data\n");
    struct config c;
    OK(config_load(path(), &c));
    EQ_S(c.folder, "/data");
    EQ_S(c.listen, "0.0.0.0:7447");
    EQ_S(c.peers, "");
    EQ_S(c.log_level, "info");
    EQ_S(c.snapshots, "");
    CHECK(c.mdns && c.notify);
    config_release(&c);
    for (const struct config_key *k = config_keys; k->key; k++) {
        CHECK(*k->help && *k->type);
        if (*k->def || strcmp(k->key, "peers") == 0)
            OK(config_check(k, k->def));           /* what we would do ourselves must be allowed */
    }
}

static void test_lines(void)
{
    temp_begin();
    file("# a comment\n\n   \t\n  folder=/a b # c=d  \r\nmdns\t=\tfalse\n#peers = x\npeers =\nlog_level = debug");
    struct config c;
    OK(config_load(path(), &c));
    EQ_S(c.folder, "/a b # c=d");
    EQ_S(c.log_level, "debug");
    EQ_S(c.peers, "");
    CHECK(!c.mdns);
    config_release(&c);
}

static void test_bad_files(void)
{
    static const struct { const char *text, *words; } bad[] = {
        {"folder = /a\nfoldr = /b\n", "line 2: there is no key \"foldr\": did you mean folder?"},
        {"\n\nfolder /a\n", "line 3: not a line of the form key = value"},
        {"folder = a\n", "line 1: folder: \"a\": not an absolute path"},
        {"folder = /a\nfolder = /a\n", "line 2: folder is set a second time"},
        {"folder = /a\nmdns = yes\n", "line 2: mdns"},
        {"folder = /a\nlisten =\n", "line 2: listen"},
        {"folder = /a\n= x\n", "line 2: there is no key \"\""},
        {"", "the folder is not set"},
        {"mdns = true\n", "the folder is not set"},
    };
    temp_begin();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct config c;
        file(bad[i].text);
        FAILS(config_load(path(), &c), ERR_BAD, bad[i].words);
        CHECK(strstr(err_text(), path()) && !c.folder);
    }
    struct config c;
    temp_write("config", "folder = /a\0b\n", 14);
    FAILS(config_load(path(), &c), ERR_BAD, "zero byte");
    FAILS(config_load(in_temp("none"), &c), ERR_NOTFOUND, "none");
}

static void test_values(void)
{
    static const struct { const char *key, *value; int ok; } cases[] = {
        {"listen", "0.0.0.0:7447", 1}, {"listen", "127.0.0.1:0", 1}, {"listen", "[::]:7447", 1}, {"listen", "[fd00::1]:65533", 1},
        {"listen", "*:1", 1}, {"listen", "0.0.0.0:65534", 0}, {"listen", "0.0.0.0", 0}, {"listen", ":7447", 0},
        {"listen", "::1:7447", 0}, {"listen", "[::1]", 0}, {"listen", "1.2.3.4:7x", 0}, {"listen", "1.2.3.4:-1", 0},
        {"listen", "1.2.3.4: 1", 0}, {"listen", "host:7447", 0}, {"listen", "[1.2.3.4]:1", 0}, {"listen", "[]:1", 0},
        {"listen", "1.2.3.4:", 0}, {"listen", "1.2.3.4:99999999999999999999", 0},
        {"peers", "", 1}, {"peers", "a.example:1", 1}, {"peers", "a:1 [fd00::1]:2 10.0.0.1:65535", 1}, {"peers", "a", 0},
        {"peers", "a:0", 0}, {"peers", "a:1,b:2", 0}, {"peers", "a:1  b:2", 0}, {"peers", "a:1 ", 0}, {"peers", "tcp://a:1", 0},
        {"mdns", "true", 1}, {"mdns", "false", 1}, {"mdns", "1", 0}, {"mdns", "", 0}, {"mdns", "TRUE", 0},
        {"log_level", "warn", 1}, {"log_level", "loud", 0},
        {"history_days", "0", 1}, {"history_days", "36500", 1}, {"history_days", "36501", 0}, {"history_days", "-1", 0},
        {"history_days", "", 0}, {"history_days", "1d", 0}, {"hook_seconds", "1", 1}, {"hook_seconds", "86400", 1}, {"hook_seconds", "0", 0}, {"hook_seconds", "86401", 0},
        {"history_share", "90", 1}, {"history_share", "91", 0},
        {"history_share", "99999999999999999999", 0}, {"log_level", "", 0},
        {"snapshots", "", 1}, {"snapshots", "daily=7", 1}, {"snapshots", "weekly=1 hourly=168", 1}, {"snapshots", "daily", 0},
        {"snapshots", "daily=0", 0}, {"snapshots", "daily=169", 0}, {"snapshots", "daily=7 daily=8", 0}, {"snapshots", "daily=7,weekly=1", 0},
        {"snapshots", "daily=7  weekly=1", 0}, {"snapshots", "daily=7x", 0}, {"snapshots", "yearly=1", 0}, {"snapshots", "daily=-1", 0},
        {"rate.up", "0", 1}, {"rate.up", "20MB mon-fri,08:00-18:00=2MB", 1}, {"rate.up", "", 0}, {"rate.up", "fast", 0}, {"rate.down", "500kB", 1}, {"rate.up_each", "2MB", 1}, {"rate.down", "1", 0},
        {"folder", "/", 1}, {"folder", "/a b", 1}, {"folder", "/\xff", 1}, {"folder", "a", 0}, {"folder", "", 0},
        {"folder", "/a\nmdns = false", 0}, {"folder", "/a ", 0}, {"folder", "/a\x7f", 0}, {"folder", "/a\t", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct config_key *k;
        OK(config_find(cases[i].key, &k));
        int r = config_check(k, cases[i].value);
        if (r != (cases[i].ok ? 0 : ERR_USAGE))
            T_FAIL("%s = \"%s\": %d", cases[i].key, cases[i].value, r);
    }
    static const struct { const char *typed, *meant; } near[] = {{"listn", "listen"}, {"peer", "peers"}, {"loglevel", "log_level"},
                                                                 {"MDNS", "mdns"}};
    const struct config_key *k;
    for (size_t i = 0; i < sizeof near / sizeof *near; i++)
        FAILS(config_find(near[i].typed, &k), ERR_USAGE, near[i].meant);
}

static void test_set(void)
{
    temp_begin();
    file("# mine\nfolder = /a\n\n  mdns=true # no\n# end");
    OK(config_set(path(), "mdns", "false"));
    EQ_S(temp_read("config"), "# mine\nfolder = /a\n\nmdns = false\n# end\n");
    OK(config_set(path(), "peers", "a:1 b:2"));
    EQ_S(temp_read("config"), "# mine\nfolder = /a\n\nmdns = false\n# end\npeers = a:1 b:2\n");
    OK(config_set(path(), "peers", ""));
    EQ_S(temp_read("config"), "# mine\nfolder = /a\n\nmdns = false\n# end\npeers = \n");
    FAILS(config_set(path(), "mdns", "no"), ERR_USAGE, "neither");
    FAILS(config_set(path(), "mdn", "true"), ERR_USAGE, "did you mean mdns");
    FAILS(config_set(in_temp("none"), "mdns", "true"), ERR_NOTFOUND, "none");
    EQ_S(temp_read("config"), "# mine\nfolder = /a\n\nmdns = false\n# end\npeers = \n");
    CHECK(!temp_has("config.new"));

    file("folder = /a\nfolder = /b\nrubbish\n");    /* what cannot be loaded can be mended */
    OK(config_set(path(), "folder", "/c"));
    EQ_S(temp_read("config"), "folder = /c\nrubbish\n");
}

static void test_create(void)
{
    temp_begin();
    OK(config_create(path(), "/the folder", "a:1 b:2"));
    FAILS(config_create(path(), "/x", ""), ERR_EXISTS, "config");
    struct config c;
    OK(config_load(path(), &c));
    EQ_S(c.folder, "/the folder");
    EQ_S(c.peers, "a:1 b:2");
    config_release(&c);
    struct stat st;
    CHECK(stat(path(), &st) == 0 && (st.st_mode & 0777) == 0600);
    FAILS(config_create(in_temp("two"), "/a\nb", ""), ERR_USAGE, "control character");
    CHECK(!temp_has("two"));
}

/* Whatever is set, in whatever order: each key has the value last given to it, and the comments stay. */
static void test_random_sets(void)
{
    static const char *const value[][3] = {
        {"/a", "/b c", "/d=#e"}, {"0.0.0.0:1", "[::]:2", "127.0.0.1:0"}, {"true", "false", "true"}, {"", "a:1", "a:1 b:2"},
        {"error", "info", "debug"}, {"0", "30", "36500"}, {"0", "10", "90"},
    };
    uint64_t seed = 4;
    const char *want[7] = {"/start", "0.0.0.0:7447", "true", "", "info", "30", "10"};
    temp_begin();
    file("# first\nfolder = /start\n# last\n");
    for (int i = 0; i < 60; i++) {
        size_t k = t_rand(&seed) % 7;
        want[k] = value[k][t_rand(&seed) % 3];
        OK(config_set(path(), config_keys[k].key, want[k]));
        for (size_t j = 0; j < 7; j++) {
            AUTO(buf_release) struct buf got = BUF_INIT(1000);
            OK(config_get(path(), config_keys[j].key, &got));
            CHECK(got.len == strlen(want[j]));
            EQ_MEM(got.len ? (const void *)got.data : "", want[j], got.len);
        }
    }
    CHECK(strstr(temp_read("config"), "# first\n") && strstr(temp_read("config"), "# last\n"));
}

int main(void)
{
    RUN(test_defaults);
    RUN(test_lines);
    RUN(test_bad_files);
    RUN(test_values);
    RUN(test_set);
    RUN(test_create);
    RUN(test_random_sets);
    temp_end();
    return t_done();
}
