#include "store/ignore.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/buf.h"

/* A rule is compiled to tokens: bytes stand for themselves. */
enum token {
    T_ANY = 256,           /* ?   */
    T_STAR,                /* *   any bytes without a slash */
    T_DIRS,                /* **  with the slash behind it: nothing, or anything up to a slash */
    T_SOME_DIRS,           /* **  with an escaped slash behind it: anything up to a slash */
    T_ALL,                 /* **  at the end */
    T_END,                 /* of the rule */
    T_SET,                 /* T_SET + n: set n of the rule */
};
struct set { uint8_t has[32]; };                 /* a bit for every byte */
struct rule {
    size_t token, set;     /* where its tokens and its sets begin */
    bool negated, dir_only;
    bool any_depth;        /* no slash in it: is matched against the last component */
};
struct ignore {
    struct buf token;      /* of uint16_t: the tokens of all rules, each with T_END */
    struct buf set;        /* of struct set */
    struct buf rule;       /* of struct rule */
};

/* ---- compiling ---- */

struct reader { const char *p, *end; };

/* The next byte, or the one that is escaped there. -1 at the end. */
static int read_byte(struct reader *in)
{
    if (in->p < in->end && *in->p == '\\')
        in->p++;
    return in->p < in->end ? (unsigned char)*in->p++ : -1;
}

static void set_add(struct set *s, int low, int high)
{
    for (int c = low; c <= high; c++)
        s->has[c / 8] |= (uint8_t)(1 << c % 8);
}

static bool set_has(const struct set *s, unsigned char c)
{
    return s->has[c / 8] >> c % 8 & 1;
}

/* The classes of sets, as pairs of first and last byte. Like git's they are ASCII, and space is just these four. */
static const struct { const char *name, *ranges; } CLASSES[] = {
    { "alnum", "09AZaz" },   { "alpha", "AZaz" }, { "blank", "\t\t  " }, { "cntrl", "\x01\x1f\x7f\x7f" },
    { "digit", "09" },       { "graph", "!~" },   { "lower", "az" },     { "print", " ~" },
    { "punct", "!/:@[`{~" }, { "space", "\t\n\r\r  " },                  { "upper", "AZ" },
    { "xdigit", "09AFaf" },
};

static bool set_add_class(struct set *s, const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof CLASSES / sizeof *CLASSES; i++)
        if (strlen(CLASSES[i].name) == len && memcmp(CLASSES[i].name, name, len) == 0) {
            for (const char *r = CLASSES[i].ranges; *r; r += 2)
                set_add(s, r[0], r[1]);
            return true;
        }
    return false;
}

/* Whether a class, "[:name:]", comes next; then its name. Any other '[' in a set is an ordinary byte. */
static bool next_is_class(const struct reader *in, const char **name, size_t *len)
{
    if (in->end - in->p < 2 || in->p[0] != '[' || in->p[1] != ':')
        return false;
    *name = in->p + 2;
    const char *close = memchr(*name, ']', (size_t)(in->end - *name));
    if (!close || close == *name || close[-1] != ':')
        return false;
    *len = (size_t)(close - 1 - *name);
    return true;
}

/* Reads the members of a set and the ']' that ends it; as the first member ']' is an ordinary byte. False when broken. */
static bool read_members(struct reader *in, struct set *s)
{
    const char *first = in->p, *name;
    size_t len;
    int low = -1;                                /* the member before, if a range may begin with it */
    while (in->p == in->end || in->p == first || *in->p != ']') {
        if (low >= 0 && in->end - in->p > 1 && in->p[0] == '-' && in->p[1] != ']') {
            in->p++;
            int high = read_byte(in);
            if (high < 0)
                return false;
            set_add(s, low, high);
            low = -1;
        } else if (next_is_class(in, &name, &len)) {
            if (!set_add_class(s, name, len))
                return false;
            in->p = name + len + 2;
            low = -1;
        } else {
            low = read_byte(in);
            if (low < 0)
                return false;
            set_add(s, low, low);
        }
    }
    in->p++;
    return true;
}

/* Reads a set behind its '['. */
static bool read_set(struct reader *in, struct set *s)
{
    *s = (struct set){ 0 };
    bool negated = in->p < in->end && (*in->p == '!' || *in->p == '^');
    in->p += negated;
    if (!read_members(in, s))
        return false;
    for (size_t i = 0; negated && i < sizeof s->has; i++)
        s->has[i] ^= 0xff;
    s->has['/' / 8] &= (uint8_t)~(1 << '/' % 8);
    return true;
}

/* Reads one or more stars. Two or more that are a whole component reach across slashes; `whole`: a component begins here. */
static enum token read_stars(struct reader *in, bool whole)
{
    const char *first = in->p;
    while (in->p < in->end && *in->p == '*')
        in->p++;
    if (!whole || in->p - first < 2)
        return T_STAR;
    if (in->p == in->end)
        return T_ALL;
    bool escaped = in->end - in->p > 1 && in->p[0] == '\\' && in->p[1] == '/';
    if (*in->p != '/' && !escaped)
        return T_STAR;
    in->p += escaped ? 2 : 1;
    return escaped ? T_SOME_DIRS : T_DIRS;
}

static void put_token(struct ignore *ig, int token)
{
    uint16_t t = (uint16_t)token;
    buf_add(&ig->token, &t, sizeof t);
}

/* Compiles a pattern into tokens and sets. False when it is broken: what was added is of no use then. */
static bool compile(struct ignore *ig, struct reader in)
{
    int sets = 0;
    bool literal = true;                         /* so far; git takes ** behind nothing but literal bytes for a whole component */
    for (char before = '/'; in.p < in.end; before = in.p[-1]) {
        if (*in.p == '*') {
            put_token(ig, (int)read_stars(&in, literal || before == '/'));
        } else if (*in.p == '?') {
            in.p++;
            put_token(ig, T_ANY);
        } else if (*in.p == '[') {
            in.p++;
            struct set s;
            if (!read_set(&in, &s))
                return false;
            buf_add(&ig->set, &s, sizeof s);
            put_token(ig, T_SET + sets++);
        } else {
            bool plain = *in.p != '\\';
            int byte = read_byte(&in);
            if (byte < 0)
                return false;
            put_token(ig, byte);
            literal = literal && plain;
            continue;
        }
        literal = false;
    }
    put_token(ig, T_END);
    return true;
}

/* ---- matching ---- */

static bool token_fits(unsigned token, const struct set *sets, unsigned char c)
{
    if (token == T_ANY)
        return c != '/';
    if (token < T_SET)
        return token == c;
    assert(sets);                                /* a rule with sets has some */
    return set_has(&sets[token - T_SET], c);
}

/* Whether t..end matches the tokens at p. When something does not fit, only the latest T_STAR needs another try, with one byte
 * more, and when that can take no more the latest T_DIRS, with one component more: whatever was matched before them ended as early
 * as it can, and places further on are open to them anyway. So the steps are bounded by (tokens) * (bytes), where trying all
 * combinations would be exponential. */
static bool tokens_match(const uint16_t *p, const struct set *sets, const char *t, const char *end)
{
    const uint16_t *star = NULL, *dirs = NULL;   /* behind the latest one; NULL: none that could take more */
    const char *star_t = NULL, *dirs_t = NULL;   /* the end of what it takes so far */
    for (;;) {
        if (*p == T_ALL || (*p == T_END && t == end))
            return true;
        if (*p == T_STAR) {
            star = ++p;
            star_t = t;
            continue;
        }
        if (*p == T_DIRS || *p == T_SOME_DIRS) {
            dirs = p + 1;
            dirs_t = t;
            star = NULL;
            if (*p++ == T_DIRS)
                continue;
        } else if (t < end && token_fits(*p, sets, (unsigned char)*t)) {
            if (*t++ == '/')
                star = NULL;                     /* it ends with its component, and could not have ended elsewhere */
            p++;
            continue;
        }
        if (star && star_t < end && *star_t != '/') {
            t = ++star_t;
            p = star;
        } else if (dirs && (dirs_t = memchr(dirs_t, '/', (size_t)(end - dirs_t)))) {
            t = ++dirs_t;
            p = dirs;
            star = NULL;
        } else {
            return false;
        }
    }
}

static size_t rule_count(const struct ignore *ig)
{
    return ig->rule.len / sizeof(struct rule);
}

bool ignore_match(const struct ignore *ig, const char *path, size_t len, bool is_dir)
{
    const struct rule *rule = (const void *)ig->rule.data;
    const uint16_t *tokens = (const void *)ig->token.data;
    const struct set *sets = (const void *)ig->set.data;
    const char *slash = memrchr(path, '/', len), *name = slash ? slash + 1 : path;
    for (size_t i = rule_count(ig); i-- > 0;) {
        const struct rule *r = &rule[i];
        if (r->dir_only && !is_dir)
            continue;
        if (tokens_match(tokens + r->token, sets ? sets + r->set : NULL, r->any_depth ? name : path, path + len))
            return !r->negated;
    }
    return false;
}

bool ignore_match_deep(const struct ignore *ig, const char *path, size_t len, bool is_dir)
{
    for (size_t i = 1; i < len; i++)
        if (path[i] == '/' && ignore_match(ig, path, i, true))
            return true;
    return ignore_match(ig, path, len, is_dir);
}

/* ---- reading rules ---- */

static void cut(struct buf *b, size_t len)
{
    b->len = len;
    b->failed = false;
}

/* Adds the rule that p holds. One that can never match is none. */
static int add_rule(struct ignore *ig, const char *p, size_t len)
{
    if (len > IGNORE_LINE)
        return err_set(ERR_BAD, "a rule of %zu bytes, more than %u", len, IGNORE_LINE);
    if (memchr(p, '\0', len))
        return err_set(ERR_BAD, "a NUL byte: this is no text");
    struct rule r = { .token = ig->token.len / sizeof(uint16_t), .set = ig->set.len / sizeof(struct set) };
    r.negated = *p == '!';
    p += r.negated, len -= r.negated;
    r.dir_only = len && p[len - 1] == '/';
    len -= r.dir_only;
    r.any_depth = !memchr(p, '/', len);
    if (len && *p == '/')
        p++, len--;
    size_t tokens = ig->token.len, sets = ig->set.len;
    if (len == 0 || !compile(ig, (struct reader){ p, p + len })) {
        cut(&ig->token, tokens);
        cut(&ig->set, sets);
        return 0;
    }
    if (ig->rule.len == ig->rule.max)
        return err_set(ERR_BAD, "more than %u rules", IGNORE_RULES);
    buf_add(&ig->rule, &r, sizeof r);
    return buf_ok(&ig->token) && buf_ok(&ig->set) && buf_ok(&ig->rule) ? 0 : err_set(ERR_BAD, "rules that take too much memory");
}

/* The length of a line without the spaces at its end; an escaped space stays. */
static size_t without_spaces(const char *line, size_t len)
{
    size_t keep = 0;
    for (size_t i = 0; i < len; i++) {
        if (line[i] == '\\')
            i++;
        else if (line[i] == ' ')
            continue;
        keep = i + 1;
    }
    return keep < len ? keep : len;
}

static int add_line(struct ignore *ig, const char *line, size_t len)
{
    if (len && line[len - 1] == '\r')
        len--;
    if (len && *line == '#')
        return 0;
    len = without_spaces(line, len);
    return len ? add_rule(ig, line, len) : 0;
}

struct ignore *ignore_new(void)
{
    return xcalloc(1, sizeof(struct ignore));
}

void ignore_free(struct ignore **ig)
{
    if (*ig) {
        buf_release(&(*ig)->token);
        buf_release(&(*ig)->set);
        buf_release(&(*ig)->rule);
        free(*ig);
    }
    *ig = NULL;
}

/* Each text has room of its own. */
static void make_room(struct ignore *ig)
{
    ig->token.max = ig->token.len + IGNORE_MEMORY;
    ig->set.max = ig->set.len + IGNORE_MEMORY;
    ig->rule.max = ig->rule.len + IGNORE_RULES * sizeof(struct rule);
}

int ignore_load(struct ignore *ig, const char *text, size_t len, const char *name)
{
    if (len > IGNORE_TEXT)
        return err_set(ERR_BAD, "%s: %zu bytes of rules, more than %u", name, len, IGNORE_TEXT);
    size_t tokens = ig->token.len, sets = ig->set.len, rules = ig->rule.len;
    make_room(ig);
    const char *p = text, *end = len ? text + len : text;
    if (len >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
        p += 3;
    for (size_t n = 1; p < end; n++) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        size_t line = (size_t)((eol ? eol : end) - p);
        int rc = add_line(ig, p, line);
        if (rc < 0) {
            cut(&ig->token, tokens);
            cut(&ig->set, sets);
            cut(&ig->rule, rules);
            return err_prefix(rc, "%s: line %zu", name, n);
        }
        p += line + (eol != NULL);
    }
    return 0;
}
