#include "proto/path.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <threads.h>

#include "proto/limits.h"

#define SHOW_MAX (4 * LIMIT_PATH + 1) /* every byte as \xNN */

size_t utf8_decode(const uint8_t *p, size_t len, uint32_t *cp)
{
    static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 }; /* of a form: shorter ones must be used */
    if (len == 0)
        return 0;
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf8 ? 4 : 0;
    if (n == 0 || n > len)
        return 0;
    uint32_t c = n == 1 ? p[0] : p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3fu);
    }
    if (c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *cp = c;
    return n;
}

bool utf8_is_control(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp <= 0x9f) || cp == 0x061c || cp == 0x200e || cp == 0x200f ||
           (cp >= 0x2028 && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069);
}

static const char *component_check(const char *name, size_t len)
{
    if (len == 0)
        return "empty component, or '/' at its beginning or end";
    if (len > LIMIT_NAME)
        return "component of more than 255 bytes";
    if ((len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.'))
        return "component \".\" or \"..\"";
    return NULL;
}

static bool is_own(const char *name, size_t len)
{
    return len == strlen(PATH_OWN) && strncasecmp(name, PATH_OWN, len) == 0;
}

static const char *rule_broken(const char *path, size_t len)
{
    if (len == 0)
        return "empty";
    if (len > LIMIT_PATH)
        return "longer than 4095 bytes";
    if (memchr(path, '\0', len))
        return "NUL byte";
    const char *name = path, *end = path + len;
    for (unsigned depth = 1;; depth++) {
        const char *slash = memchr(name, '/', (size_t)(end - name));
        size_t n = (size_t)((slash ? slash : end) - name);
        const char *broken = component_check(name, n);
        if (broken)
            return broken;
        if (depth == 1 && is_own(name, n))
            return PATH_OWN " is the node's own folder";
        if (depth > LIMIT_PATH_DEPTH)
            return "more than 512 components";
        if (!slash)
            return NULL;
        name = slash + 1;
    }
}

int path_check(const void *path, size_t len)
{
    const char *broken = rule_broken(path, len);
    if (broken)
        return err_set(ERR_BAD, "bad path (%s): \"%s\"", broken, path_show(path, len)); /* a long path may be cut */
    return 0;
}

/* ---- snapshots ---- */

bool path_is_snapshot(const void *path, size_t len)
{
    return len > strlen(PATH_SNAPSHOTS) + 1 && memcmp(path, PATH_SNAPSHOTS "/", strlen(PATH_SNAPSHOTS) + 1) == 0;
}

static const char *name_broken(const uint8_t *name, size_t len)
{
    if (len == 0)
        return "empty";
    if (len > LIMIT_SNAPSHOT_NAME)
        return "longer than 64 bytes";
    if (memchr(name, '/', len))
        return "a '/' in it";
    if (component_check((const char *)name, len))
        return "\".\" and \"..\" are no names";
    for (size_t n; len > 0; name += n, len -= n) {
        uint32_t cp;
        n = utf8_decode(name, len, &cp);
        if (n == 0)
            return "not UTF-8";
        if (utf8_is_control(cp))
            return "a control character in it";
    }
    return NULL;
}

int snapshot_name_check(const void *name, size_t len)
{
    const char *broken = name_broken(name, len);
    return broken ? err_set(ERR_BAD, "bad name of a snapshot (%s): \"%s\"", broken, path_show(name, len)) : 0;
}

int path_check_snapshot(const void *path, size_t len)
{
    if (!path_is_snapshot(path, len))
        return err_set(ERR_BAD, "bad path of a snapshot (not beneath " PATH_SNAPSHOTS "): \"%s\"", path_show(path, len));
    size_t skip = strlen(PATH_SNAPSHOTS) + 1;
    return snapshot_name_check((const uint8_t *)path + skip, len - skip);
}

/* ---- notes ---- */

static bool name_of_note(const uint8_t *name, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!(name[i] >= '0' && name[i] <= '9') && !(name[i] >= 'a' && name[i] <= 'f'))
            return false;
    return true;
}

int path_check_note(const void *path, size_t len)
{
    const size_t skip = sizeof PATH_NOTES;
    if (len != PATH_NOTE_LEN || memcmp(path, PATH_NOTES "/", skip) != 0 || !name_of_note((const uint8_t *)path + skip, len - skip))
        return err_set(ERR_BAD, "bad path of a note (not " PATH_NOTES "/ and 32 hex digits): \"%s\"", path_show(path, len));
    return 0;
}

bool path_is_own(const void *path, size_t len)
{
    return len > strlen(PATH_OWN) && memcmp(path, PATH_OWN "/", strlen(PATH_OWN) + 1) == 0;
}

/* ---- parts ---- */

size_t path_parent(const char *path, size_t len)
{
    const char *slash = memrchr(path, '/', len);
    return slash ? (size_t)(slash - path) : 0;
}

bool path_beneath(const char *path, size_t len, const char *dir, size_t dirlen)
{
    if (dirlen == 0)
        return len > 0; /* the root of the folder */
    return len > dirlen && path[dirlen] == '/' && memcmp(path, dir, dirlen) == 0;
}

struct shown { unsigned next; char text[4][SHOW_MAX]; };
static once_flag shown_once = ONCE_FLAG_INIT;
static tss_t shown_key;

static void make_key(void)
{
    int r = tss_create(&shown_key, free);
    assert(r == thrd_success);
}

/* Not _Thread_local: all of that is written to when a thread starts, so each would take 64 KB for good, and most show no path. */
static struct shown *shown_of_thread(void)
{
    call_once(&shown_once, make_key);
    struct shown *s = tss_get(shown_key);
    if (s)
        return s;
    s = xcalloc(1, sizeof *s);
    int r = tss_set(shown_key, s);
    assert(r == thrd_success);
    return s;
}

const char *path_show(const void *path, size_t len)
{
    struct shown *s = shown_of_thread();
    char *out = s->text[s->next++ % 4], *o = out;
    const uint8_t *p = path;
    if (len > LIMIT_PATH)
        len = LIMIT_PATH;
    while (len > 0) {
        uint32_t cp;
        size_t n = utf8_decode(p, len, &cp);
        bool plain = n && cp != '\\' && !utf8_is_control(cp);
        if (n == 0)
            n = 1;
        for (size_t i = 0; i < n; i++) {
            if (plain)
                *o++ = (char)p[i];
            else
                o += snprintf(o, 5, "\\x%02x", p[i]);
        }
        p += n;
        len -= n;
    }
    *o = '\0';
    return out;
}
