#include "node/config.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "node/autosnap.h"
#include "node/file.h"
#include "node/rate.h"
#include "proto/limits.h"
#include "proto/record.h"

enum { CONFIG_MAX = 256 * 1024, CONFIG_MODE = 0600 };

#define AT(member) offsetof(struct config, member)
const struct config_key config_keys[] = {
    {"folder", AT(folder), "path", "", "the folder that is kept in sync; an absolute path"},
    {"listen", AT(listen), "address", "0.0.0.0:7447",
     "where to listen, ADDR:PORT; [::]:7447 for IPv6; port 0 takes any free one; the two ports behind it are used too"},
    {"mdns", AT(mdns), "bool", "true", "find other devices by multicast, and be found: true or false"},
    {"peers", AT(peers), "addresses", "", "where other devices may be found, HOST:PORT separated by spaces"},
    {"log_level", AT(log_level), "level", "info", "how much to log: error, warn, info or debug"},
    {"history_days", AT(history_days), "days", "30", "how long replaced and deleted versions are kept here, in days (0 to 36500)"},
    {"history_share", AT(history_share), "percent", "10", "how much of the disk they may take, in percent (0 to 90); then the oldest go first"},
    {"history_alone", AT(history_alone), "bool", "true", "whether what was written on this device is kept before it is overwritten: true or false"},
    {"snapshots", AT(snapshots), "schedule", "", "snapshots that are made by themselves, and how many are kept, as in hourly=24 daily=7 weekly=4"},
    {"rate.up", AT(rate_up), "rate", "0", "how much may be sent of contents: 0 (no limit), 20MB a second, or 20MB mon-fri,08:00-18:00=2MB"},
    {"rate.up_each", AT(rate_up_each), "rate", "0", "the same to each single device"},
    {"rate.down", AT(rate_down), "rate", "0", "how much may be received of them, in the same form"},
    {"mesh", AT(mesh), "devices", "24", "up to so many devices each is connected to every other; of more, to some (0 to 4096)"},
    {"hook_seconds", AT(hook_seconds), "seconds", "60", "how long a hook may run before it is killed, in seconds (1 to 86400)"},
    {"notify", AT(notify), "bool", "true", "tell the desktop of a lock by a required version and of its end: true or false"},
    {0},
};
enum { NKEYS = sizeof config_keys / sizeof *config_keys - 1 };

/* ---- types ---- */

/* What is wrong with a value, or NULL. */
static const char *path_fault(const char *v)
{
    return *v != '/' ? "not an absolute path" : strlen(v) > LIMIT_PATH ? "too long a path" : NULL;
}

static const char *listen_fault(const char *v)
{
    const char *colon = strrchr(v, ':');
    char host[64], *end;
    uint8_t addr[16];
    size_t len = colon ? (size_t)(colon - v) : 0;
    if (len == 0 || len >= sizeof host || colon[1] < '0' || colon[1] > '9')
        return "not ADDR:PORT";
    if (strtoul(colon + 1, &end, 10) > 65533 || *end)
        return "the port must be in 0..65533: two more behind it are used";
    memcpy(host, v, len);
    host[len] = '\0';
    bool v6 = host[0] == '[' && host[len - 1] == ']';
    if (v6)
        host[len - 1] = '\0';
    if (v6 ? inet_pton(AF_INET6, host + 1, addr) != 1 : inet_pton(AF_INET, host, addr) != 1 && strcmp(host, "*") != 0)
        return "not a numeric address of this machine, 0.0.0.0 or [::]";
    return NULL;
}

static const char *bool_fault(const char *v)
{
    return strcmp(v, "true") == 0 || strcmp(v, "false") == 0 ? NULL : "neither true nor false";
}

static const char *addresses_fault(const char *v)
{
    while (*v) {
        size_t len = strcspn(v, " ");
        if (addr_check(v, len) < 0)
            return "not a list of HOST:PORT separated by single spaces";
        v += len;
        if (*v == ' ' && *++v == '\0')
            return "a space at the end";
    }
    return NULL;
}

static const char *level_fault(const char *v)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (strcmp(v, levels[i]) == 0)
            return NULL;
    return "not one of error, warn, info, debug";
}

static const char *schedule_fault(const char *v)
{
    struct autosnap a;
    return autosnap_parse(v, &a) < 0 ? "not like hourly=24 daily=7 weekly=4, each at most once, from 1 to 168" : NULL;
}

static const char *rate_fault(const char *v)
{
    struct rate_plan p;
    return !*v || rate_parse(v, &p) < 0 ? "not like 0, 500kB, 20MB or 20MB mon-fri,08:00-18:00=2MB" : NULL;
}

static const char *number_fault(const char *v, unsigned long most)
{
    size_t digits = strspn(v, "0123456789");
    return digits > 0 && digits < 10 && !v[digits] && strtoul(v, NULL, 10) <= most ? NULL : "not a number in its range";
}
static const char *days_fault(const char *v) { return number_fault(v, 36500); }
static const char *percent_fault(const char *v) { return number_fault(v, 90); }

static const char *seconds_fault(const char *v) { return strcmp(v, "0") == 0 ? "not a number in its range" : number_fault(v, 86400); }

static const char *devices_fault(const char *v) { return number_fault(v, LIMIT_MEMBERS); }

static const struct type { const char *name; const char *(*fault)(const char *v); } types[] = {
    {"path", path_fault}, {"address", listen_fault}, {"bool", bool_fault}, {"addresses", addresses_fault}, {"level", level_fault},
    {"days", days_fault}, {"percent", percent_fault}, {"seconds", seconds_fault},
    {"devices", devices_fault},     {"schedule", schedule_fault}, {"rate", rate_fault},
};

static const char *value_fault(const struct config_key *k, const char *v)
{
    for (const unsigned char *p = (const unsigned char *)v; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            return "has a control character, which a line of text cannot hold";
    size_t len = strlen(v);
    if (len > 0 && (v[0] == ' ' || v[len - 1] == ' '))
        return "begins or ends with a space";
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, k->type) == 0)
            return types[i].fault(v);
    assert(0 && "a key of no type");
    return NULL;
}

int config_check(const struct config_key *k, const char *value)
{
    const char *fault = value_fault(k, value);
    return fault ? err_set(ERR_USAGE, "%s: \"%s\": %s", k->key, value, fault) : 0;
}

/* ---- keys ---- */

/* Edit distance, for short words. */
static size_t distance(const char *a, const char *b)
{
    size_t row[64], n = strlen(b);
    if (n >= 64)
        return SIZE_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; *a; a++, i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = diagonal + (*a != b[j - 1]), drop = row[j] + 1, insert = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = change < drop ? change : drop;
            row[j] = row[j] < insert ? row[j] : insert;
        }
    }
    return row[n];
}

int config_find(const char *key, const struct config_key **out)
{
    const struct config_key *nearest = config_keys;
    for (const struct config_key *k = config_keys; k->key; k++) {
        if (strcmp(k->key, key) == 0) {
            *out = k;
            return 0;
        }
        if (distance(k->key, key) < distance(nearest->key, key))
            nearest = k;
    }
    return err_set(ERR_USAGE, "there is no key \"%.40s\": did you mean %s?", key, nearest->key);
}

static bool is_bool(const struct config_key *k) { return strcmp(k->type, "bool") == 0; }
static char **text_of(const struct config *c, const struct config_key *k) { return (char **)((char *)c + k->at); }
static bool *bool_of(const struct config *c, const struct config_key *k) { return (bool *)((char *)c + k->at); }

const char *config_text(const struct config *c, const struct config_key *k)
{
    return !is_bool(k) ? *text_of(c, k) : *bool_of(c, k) ? "true" : "false";
}

static void assign(struct config *c, const struct config_key *k, const char *value)
{
    if (is_bool(k)) {
        *bool_of(c, k) = strcmp(value, "true") == 0;
        return;
    }
    char **text = text_of(c, k);
    free(*text);
    *text = xstrdup(value);
}

/* ---- lines ---- */

struct line { const struct config_key *k; char *key, *value; };   /* key NULL: empty or a comment */

static char *trim(char *s)
{
    s += strspn(s, " \t\r");
    for (size_t len = strlen(s); len > 0 && strchr(" \t\r", s[len - 1]); len--)
        s[len - 1] = '\0';
    return s;
}

/* Takes a line apart in place. false when it has no `=`. */
static bool line_parse(char *text, struct line *out)
{
    *out = (struct line){0};
    char *s = trim(text);
    if (*s == '\0' || *s == '#')
        return true;
    char *equals = strchr(s, '=');
    if (!equals)
        return false;
    *equals = '\0';
    out->key = trim(s);
    out->value = trim(equals + 1);
    return true;
}

/* The file as a string of lines. */
static int read_text(const char *path, struct buf *b)
{
    int r = file_read(path, false, b, NULL);
    if (r < 0)
        return r;
    if (memchr(b->data ? (const void *)b->data : "", '\0', b->len))
        return err_set(ERR_BAD, "%s: holds a zero byte: not a text", path);
    buf_add(b, "", 1);
    return buf_ok(b) ? 0 : err_set(ERR_BAD, "%s: too long", path);
}

static int load_line(struct config *c, bool seen[NKEYS], char *text)
{
    struct line l;
    if (!line_parse(text, &l))
        return err_set(ERR_BAD, "not a line of the form key = value");
    if (!l.key)
        return 0;
    const struct config_key *k;
    int r = config_find(l.key, &k);
    if (r == 0)
        r = config_check(k, l.value);
    if (r == 0 && seen[k - config_keys])
        r = err_set(ERR_BAD, "%s is set a second time", k->key);
    if (r < 0)
        return ERR_BAD;
    seen[k - config_keys] = true;
    assign(c, k, l.value);
    return 0;
}

static int load_text(struct config *c, char *text)
{
    bool seen[NKEYS] = {false};
    int n = 1;
    for (char *next; text; text = next, n++) {
        next = strchr(text, '\n');
        if (next)
            *next++ = '\0';
        int r = load_line(c, seen, text);
        if (r < 0)
            return err_prefix(r, "line %d", n);
    }
    return *c->folder ? 0 : err_set(ERR_BAD, "the folder is not set: lanyard config set folder PATH");
}

int config_load(const char *path, struct config *out)
{
    AUTO(buf_release) struct buf b = BUF_INIT(CONFIG_MAX);
    *out = (struct config){0};
    int r = read_text(path, &b);
    if (r < 0)
        return r;
    for (const struct config_key *k = config_keys; k->key; k++)
        assign(out, k, k->def);
    r = load_text(out, (char *)b.data);
    if (r < 0) {
        config_release(out);
        return err_prefix(r, "%s", path);
    }
    return 0;
}

void config_release(struct config *c)
{
    for (const struct config_key *k = config_keys; k->key; k++)
        if (!is_bool(k))
            free(*text_of(c, k));
    *c = (struct config){0};
}

int config_get(const char *path, const char *key, struct buf *value)
{
    const struct config_key *k;
    AUTO(config_release) struct config c = {0};
    int r = config_find(key, &k);
    if (r == 0)
        r = config_load(path, &c);
    if (r < 0)
        return r;
    buf_add_str(value, config_text(&c, k));
    return buf_ok(value) ? 0 : err_set(ERR_FULL, "%s: no room for its value", key);
}

/* ---- changing ---- */

static void put_line(struct buf *out, const char *key, const char *value)
{
    buf_addf(out, "%s = ", key);
    buf_add_str(out, value);
    buf_add_str(out, "\n");
}

/* Copies the lines with the one of the key replaced; a second one of it is left out. */
static void rewrite(struct buf *out, char *text, const char *key, const char *value)
{
    bool done = false;
    for (char *next; text; text = next) {
        next = strchr(text, '\n');
        if (next)
            *next++ = '\0';
        if (!next && !*text)
            break;
        AUTOFREE char *copy = xstrdup(text);
        struct line l;
        bool its = line_parse(copy, &l) && l.key && strcmp(l.key, key) == 0;
        if (!its) {
            buf_add_str(out, text);
            buf_add_str(out, "\n");
        } else if (!done) {
            put_line(out, key, value);
            done = true;
        }
    }
    if (!done)
        put_line(out, key, value);
}

int config_set(const char *path, const char *key, const char *value)
{
    AUTO(buf_release) struct buf old = BUF_INIT(CONFIG_MAX), fresh = BUF_INIT(CONFIG_MAX);
    const struct config_key *k;
    int r = config_find(key, &k);
    if (r == 0)
        r = config_check(k, value);
    if (r == 0)
        r = read_text(path, &old);
    if (r < 0)
        return r;
    rewrite(&fresh, (char *)old.data, key, value);
    if (!buf_ok(&fresh))
        return err_set(ERR_FULL, "%s: would be longer than %d bytes", path, CONFIG_MAX);
    return file_replace(path, fresh.data, fresh.len, CONFIG_MODE);
}

int config_create(const char *path, const char *folder, const char *peers)
{
    int r = config_check(&config_keys[0], folder);
    const struct config_key *k;
    if (r == 0)
        r = config_find("peers", &k);
    if (r == 0)
        r = config_check(k, peers);
    if (r < 0)
        return r;
    AUTO(buf_release) struct buf b = BUF_INIT(CONFIG_MAX);
    buf_add_str(&b, "# Settings of this node: `lanyard config` lists all keys and what they mean.\n");
    put_line(&b, "folder", folder);
    if (*peers)
        put_line(&b, "peers", peers);
    if (!buf_ok(&b))
        return err_set(ERR_FULL, "%s: no room for the first settings", path);
    return file_create(path, b.data, b.len, CONFIG_MODE);
}
