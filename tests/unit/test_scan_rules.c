/* Rules for what is left alone, from several places, of which some cannot be read. */
#include "store/ignore.h"
#include "tests/unit/t_scan.h"

static void test_local_rules_and_bad_rules(void)
{
    world_begin();
    edit(".lanyard/ignore", "private\n");
    edit("private", "x");
    first_scan();
    EQ_U(authored(), 0);
    /* Rules that are too long to be read leave the old ones in force. */
    AUTOFREE char *many = xcalloc(IGNORE_TEXT + 2, 1);
    memset(many, 'x', IGNORE_TEXT + 1);
    edit(".lanyardignore", many);
    settle();
    CHECK(!on_disk("private") && on_disk(".lanyardignore"));
    EQ_U(w.trouble.n > 0, 1);
    EQ_S(w.trouble.path[0], ".lanyardignore");
}

static void begin_with(const char *synced, const char *own)
{
    world_begin();
    edit(".lanyardignore", synced);
    edit(".lanyard/ignore", own);
    edit("private", "x");
    first_scan();
}

/* Nothing was read before: each file of rules holds, whatever is wrong with the other. */
static void test_bad_rules_from_the_beginning(void)
{
    AUTOFREE char *line = xcalloc(IGNORE_LINE + 2, 1), *most = xcalloc(2 * IGNORE_RULES + 1, 1);
    memset(line, 'x', IGNORE_LINE + 1);
    for (size_t i = 0; i < IGNORE_RULES; i++)
        memcpy(most + 2 * i, "x\n", 2);
    begin_with(line, "private\n");
    EQ_U(w.trouble.n, 1);
    CHECK(!on_disk("private") && on_disk(".lanyardignore"));
    begin_with(most, "private\n");       /* these leave room for others */
    EQ_U(w.trouble.n, 0);
    CHECK(!on_disk("private") && on_disk(".lanyardignore"));
    begin_with("private\n", line);       /* of its own rules nothing is known: all is left alone, and deletes nothing */
    EQ_S(w.trouble.path[0], ".lanyard/ignore");
    EQ_U(authored(), 0);
    edit(".lanyard/ignore", "");
    scan_again();
    CHECK(!on_disk("private") && on_disk(".lanyardignore"));
}

/* Others are told who leaves files out by rules of his own: the same rule in another place is another one. */
static void test_whose_rules(void)
{
    begin_with("private\n", "");
    CHECK(!w.own_rules);
    CHECK(unlink(full(".lanyardignore")) == 0);
    edit(".lanyard/ignore", "private\n");
    scan_again();
    CHECK(w.own_rules);
    edit(".lanyard/ignore", "");
    scan_again();
    CHECK(!w.own_rules);
}

int main(void)
{
    t_node_init();
    RUN(test_local_rules_and_bad_rules);
    RUN(test_bad_rules_from_the_beginning);
    RUN(test_whose_rules);
    world_end();
    return t_done();
}
