#include "proto/policy.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const struct policy_key policy_keys[] = {
    { "history.min_days", POLICY_NUMBER, 0, 36500, "0",
      "how many days every device keeps replaced and deleted versions at least, whatever its history_days and history_share say" },
    { "ignore", POLICY_TEXT, 0, POLICY_TEXT_MAX, "",
      "rules in the syntax of gitignore: what no device takes or puts in place, behind the rules of .lanyardignore" },
    { "max_file_size", POLICY_SIZE, 0, LIMIT_FILE_SIZE, "0",
      "the largest file that a device takes from its own folder, in bytes or as 500M, 2G; 0: any size" },
    { "require.modes", POLICY_MODES, 0, 0, "prompt,auto,strict", "the modes that a required version may have" },
    { "require.override", POLICY_SWITCH, 0, 1, "true", "whether a user may unlock a device with `lanyard gate override`" },
    { 0 },
};

const struct policy_key *policy_find(const char *key)
{
    for (const struct policy_key *k = policy_keys; k->key; k++)
        if (strcmp(k->key, key) == 0)
            return k;
    return NULL;
}

const char *policy_type_name(enum policy_type t)
{
    static const char *const names[] = { [POLICY_NUMBER] = "number", [POLICY_SIZE] = "size", [POLICY_SWITCH] = "true or false",
                                         [POLICY_MODES] = "modes", [POLICY_TEXT] = "text" };
    return names[t];
}

/* ---- modes: their names with commas between, each once ---- */

/* As a set of bits; 0: not such a list. */
static unsigned modes_of(const char *s, size_t len)
{
    unsigned set = 0;
    for (size_t at = 0; at <= len;) {
        const char *comma = memchr(s + at, ',', len - at);
        size_t n = comma ? (size_t)(comma - s) - at : len - at;
        unsigned one = 0;
        for (enum require_mode m = REQUIRE_PROMPT; m <= REQUIRE_STRICT; m++)
            if (strlen(require_mode_name(m)) == n && memcmp(require_mode_name(m), s + at, n) == 0)
                one = 1u << m;
        if (!one || set & one)
            return 0;
        set |= one;
        at += n + 1;
    }
    return set;
}

/* ---- as a person writes them ---- */

static bool parse_number(const char *text, bool size, uint64_t *v)
{
    static const char units[] = "KMGT";
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    unsigned long long n = strtoull(text, &end, 10);
    const char *unit = size && *end ? strchr(units, *end) : NULL;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    if (strlen(text) > 20 || *(end + (unit != NULL)) || n > LIMIT_FILE_SIZE >> shift)
        return false;
    *v = (uint64_t)n << shift;
    return true;
}

static int wrong(const struct policy_key *k)
{
    switch (k->type) {
    case POLICY_NUMBER: return err_set(ERR_USAGE, "%s: give a whole number, %" PRIu64 " to %" PRIu64, k->key, k->min, k->max);
    case POLICY_SIZE: return err_set(ERR_USAGE, "%s: give a number of bytes, or one as 500M or 2G, at most 64T", k->key);
    case POLICY_SWITCH: return err_set(ERR_USAGE, "%s: give true or false", k->key);
    case POLICY_MODES: return err_set(ERR_USAGE, "%s: give some of prompt,auto,strict, with commas between", k->key);
    case POLICY_TEXT: break;
    }
    return err_set(ERR_USAGE, "%s: longer than %" PRIu64 " bytes", k->key, k->max);
}

int policy_parse(const struct policy_key *k, const char *text, struct buf *value)
{
    AUTO(buf_release) struct buf v = BUF_INIT(POLICY_TEXT_MAX + 16);
    uint64_t n;
    if (k->type == POLICY_NUMBER || k->type == POLICY_SIZE) {
        if (parse_number(text, k->type == POLICY_SIZE, &n))
            mp_put_u64(&v, n);
    } else if (k->type == POLICY_SWITCH) {
        if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
            mp_put_bool(&v, *text == 't');
    } else {
        mp_put_str(&v, text);
    }
    struct bytes raw = { v.data, v.len };
    if (!buf_ok(&v) || v.len == 0 || !policy_is_valid(k, &raw))
        return wrong(k);
    buf_add(value, v.data, v.len);
    return 0;
}

bool policy_is_valid(const struct policy_key *k, const struct bytes *value)
{
    struct mp m = mp_reader(value->p, value->len);
    struct bytes text;
    uint64_t n;
    switch (k->type) {
    case POLICY_NUMBER:
    case POLICY_SIZE:
        n = mp_u64(&m, k->max);
        return !m.failed && n >= k->min;
    case POLICY_SWITCH:
        (void)mp_bool(&m);
        return !m.failed;
    case POLICY_MODES:
        text = mp_str(&m, k->max ? k->max : SIZE_MAX);
        return !m.failed && modes_of((const char *)text.p, text.len) != 0;
    case POLICY_TEXT:
        text = mp_str(&m, k->max);
        return !m.failed && (text.len == 0 || !memchr(text.p, '\0', text.len));
    }
    return false;
}

/* ---- what counts ---- */

/* The object in the group; false: the default counts. */
static bool of_group(const struct group *g, const struct policy_key *k, struct bytes *value)
{
    const struct bytes key = { (const uint8_t *)k->key, strlen(k->key) };
    return group_policy(g, &key, value) && policy_is_valid(k, value);
}

void policy_value(const struct group *g, const struct policy_key *k, struct buf *value)
{
    struct bytes v;
    if (of_group(g, k, &v)) {
        buf_add(value, v.p, v.len);
        return;
    }
    int r = policy_parse(k, k->def, value);
    assert(r == 0);
    (void)r;
}

static void describe_value(struct buf *out, const struct bytes *value)
{
    struct mp m = mp_reader(value->p, value->len);
    int type = mp_peek(&m);
    if (type == MP_NIL)
        buf_add_str(out, " none");
    else if (type == MP_BOOL)
        buf_addf(out, " %s", mp_bool(&m) ? "true" : "false");
    else if (type == MP_UINT)
        buf_addf(out, " %" PRIu64, mp_u64(&m, UINT64_MAX));
}

void policy_describe(struct buf *out, const struct bytes *map)
{
    struct mp m = mp_reader(map->p, map->len);
    uint32_t n = mp_map(&m, LIMIT_CTL_OPS);
    for (uint32_t i = 0; i < n && !m.failed; i++) {
        struct bytes key = mp_str(&m, SIZE_MAX), value = mp_skip(&m);
        buf_add_str(out, i ? ", " : "");
        buf_add(out, key.p, key.len);
        describe_value(out, &value);
    }
}

static struct mp read_value(const struct group *g, const char *key, struct buf *b)
{
    const struct policy_key *k = policy_find(key);
    assert(k);
    policy_value(g, k, b);
    return mp_reader(b->data, b->len);
}

uint64_t policy_number(const struct group *g, const char *key)
{
    AUTO(buf_release) struct buf b = BUF_INIT(POLICY_TEXT_MAX + 16);
    struct mp m = read_value(g, key, &b);
    return mp_peek(&m) == MP_BOOL ? mp_bool(&m) : mp_u64(&m, UINT64_MAX);
}

struct bytes policy_text(const struct group *g, const char *key)
{
    const struct policy_key *k = policy_find(key);
    struct bytes v;
    assert(k && k->type == POLICY_TEXT && !*k->def);
    if (!of_group(g, k, &v))
        return (struct bytes){ 0 };
    struct mp m = mp_reader(v.p, v.len);
    return mp_str(&m, SIZE_MAX);
}

bool policy_allows(const struct group *g, enum require_mode mode)
{
    AUTO(buf_release) struct buf b = BUF_INIT(POLICY_TEXT_MAX + 16);
    struct mp m = read_value(g, "require.modes", &b);
    struct bytes text = mp_str(&m, SIZE_MAX);
    return modes_of((const char *)text.p, text.len) >> mode & 1;
}
