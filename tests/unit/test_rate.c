/* Rates as the user says them, the hours of the week, and the bucket. */
#include "node/rate.h"
#include "tests/unit/t.h"

#define MB ((uint64_t)1000000)
enum { SUN, MON, TUE, FRI = 5, SAT };

static int at(int hour, int minute) { return hour * 60 + minute; }

static void test_text(void)
{
    static const struct { const char *text; uint64_t rate; } good[] = {
        {"", 0}, {"0", 0}, {"0MB", 0}, {"1000", 1000}, {"1000B", 1000}, {"1kB", 1000}, {"20MB", 20 * MB}, {"3GB", 3000 * MB}, {"1000GB", MB * MB},
    };
    static const char *const bad[] = {
        " ", " 1MB", "1MB ", "1 MB", "-1", "MB", "1mb", "1KB", "1MBs", "999", "1.5MB", "1001GB", "99999999999GB", "99999999999999999999",
        "1MB 08:00-18:00", "1MB 08:00-18:00=", "1MB 8:00-18:00=1MB", "1MB 08:00-24:01=1MB", "1MB 08:60-09:00=1MB", "1MB  08:00-18:00=1MB",
        "1MB mon 08:00-18:00=1MB", "1MB mon-,08:00-18:00=1MB", "1MB mo,08:00-18:00=1MB", "1MB Mon,08:00-18:00=1MB", "1MB mon-fri08:00-18:00=1MB",
        "1MB mon,", "1MB mon-fri", "1MB m", "08:00-18:00=1MB", "1MB 08:00-18:00=1", "1MB 08:00-18:00=1MB ",
    };
    struct rate_plan p;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        OK(rate_parse(good[i].text, &p));
        EQ_U(p.rate, good[i].rate);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (rate_parse(bad[i], &p) != ERR_USAGE)
            T_FAIL("\"%s\" is taken", bad[i]);
}

static void test_too_many_times(void)
{
    char text[1024];
    struct rate_plan p;
    size_t len = (size_t)snprintf(text, sizeof text, "1MB");
    for (int i = 0; i < RATE_SPANS; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, " 00:00-24:00=2MB");
    OK(rate_parse(text, &p));
    snprintf(text + len, sizeof text - len, " 00:00-24:00=2MB");
    FAILS(rate_parse(text, &p), ERR_USAGE, "more than");
}

static void test_week(void)
{
    struct rate_plan p;
    OK(rate_parse("20MB mon-fri,08:00-18:00=2MB fri,12:00-13:00=0 sat-sun,22:00-06:30=5MB", &p));
    EQ_U(rate_at(&p, MON, at(7, 59)), 20 * MB);
    EQ_U(rate_at(&p, MON, at(8, 0)), 2 * MB);
    EQ_U(rate_at(&p, FRI, at(17, 59)), 2 * MB);
    EQ_U(rate_at(&p, FRI, at(12, 30)), 0);
    EQ_U(rate_at(&p, FRI, at(18, 0)), 20 * MB);
    EQ_U(rate_at(&p, SAT, at(6, 0)), 20 * MB);
    EQ_U(rate_at(&p, SAT, at(22, 0)), 5 * MB);
    EQ_U(rate_at(&p, SUN, at(6, 29)), 5 * MB);
    EQ_U(rate_at(&p, MON, at(6, 29)), 5 * MB);
    EQ_U(rate_at(&p, TUE, at(6, 29)), 20 * MB);
    OK(rate_parse("1MB fri-mon,00:00-24:00=2MB", &p));
    EQ_U(rate_at(&p, SUN, 0), 2 * MB);
    EQ_U(rate_at(&p, MON, at(23, 59)), 2 * MB);
    EQ_U(rate_at(&p, TUE, 0), MB);
}

/* What goes in a minute in pieces of that size, asked for whenever the bucket says. */
static uint64_t sent_in_a_minute(const char *text, uint64_t piece)
{
    struct rate r = { .at = 1000 };
    uint64_t sent = 0;
    OK(rate_parse(text, &r.plan));
    for (uint64_t now = 1000; now < 61000; ) {
        uint64_t wait = rate_wait(&r, now, 0);
        now += wait;
        if (wait)
            continue;
        rate_take(&r, (int64_t)piece);
        sent += piece;
        now += r.tokens > 0 ? 0 : 1;
    }
    return sent;
}

static void test_what_goes(void)
{
    static const uint64_t pieces[] = { 100, 65536, 4 << 20 };
    for (size_t i = 0; i < 3; i++) {
        uint64_t n = sent_in_a_minute("1MB", pieces[i]);
        CHECK(n >= 59 * MB && n <= 60 * MB + MB / 4 + pieces[i]);
    }
    uint64_t slow = sent_in_a_minute("1500B", 1);
    CHECK(slow >= 59 * 1500 && slow <= 61 * 1500);
}

static void test_pause_saves_little(void)
{
    struct rate r = { .at = 0 };
    OK(rate_parse("1MB", &r.plan));
    EQ_U(rate_wait(&r, 1000000, 0), 0);
    rate_take(&r, (int64_t)MB);
    EQ_U(rate_wait(&r, 1000000, 0), 751);
    rate_take(&r, -(int64_t)MB);             /* it has not gone after all */
    EQ_U(rate_wait(&r, 1000000, 0), 0);
}

static void test_no_limit(void)
{
    struct rate r = { 0 };
    EQ_U(rate_wait(&r, 5, 0), 0);
    rate_take(&r, INT64_MAX);
    EQ_U(rate_wait(&r, 5, 0), 0);
}

int main(void)
{
    RUN(test_text);
    RUN(test_too_many_times);
    RUN(test_week);
    RUN(test_what_goes);
    RUN(test_pause_saves_little);
    RUN(test_no_limit);
    return t_done();
}
