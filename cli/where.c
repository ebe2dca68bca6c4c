#include "cli/where.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/link.h"

/* Appends the components of `path` to the absolute path in b, with "." and ".." resolved; b never ends with a slash. */
static void append(struct buf *b, const char *path)
{
    for (size_t len; *path; path += len + (path[len] == '/')) {
        len = strcspn(path, "/");
        if (len == 0 || (len == 1 && path[0] == '.'))
            continue;
        if (len == 2 && path[0] == '.' && path[1] == '.') {
            while (b->len > 0 && b->data[--b->len] != '/')
                ;
            continue;
        }
        buf_add_str(b, "/");
        buf_add(b, path, len);
    }
}

/* What of an absolute path lies beneath dir ("" for dir itself); NULL when it does not. Both without a slash at the end. */
static const char *beneath(const char *path, const char *dir)
{
    size_t len = strlen(dir);
    if (strncmp(path, dir, len) != 0)
        return NULL;
    return path[len] == '/' ? path + len + 1 : path[len] == '\0' ? path + len : NULL;
}

static char *absolute(const char *base, const char *path)
{
    AUTO(buf_release) struct buf b = BUF_INIT(4 * (size_t)LIMIT_CTL_REQUEST);
    size_t len;
    append(&b, base);
    append(&b, path);
    buf_add(&b, "", 1);
    return (char *)buf_steal(&b, &len);
}

int where_path(const char *folder, const char *cwd, const char *typed, struct buf *out)
{
    AUTOFREE char *root = absolute("", folder);
    AUTOFREE char *here = cwd ? absolute("", cwd) : NULL;
    if (!root || (cwd && !here))
        return err_set(ERR_FULL, "no memory for a path");
    const char *base = *typed == '/' ? "" : here && beneath(here, root) ? here : root;
    AUTOFREE char *path = absolute(base, typed);
    const char *rest = path && *typed ? beneath(path, root) : NULL;
    if (!rest)
        return err_set(ERR_USAGE, "\"%s\" is not in the folder %s: name a file in it", typed, folder);
    buf_add(out, rest, strlen(rest) + 1);
    if (!buf_ok(out))
        return err_set(ERR_FULL, "no memory for a path");
    out->len--;
    return 0;
}

/* An absolute path with the symbolic links of its existing parents resolved, not the one it may be itself. */
static char *resolved(const char *typed)
{
    char real[PATH_MAX];
    char *whole = absolute("", typed);
    AUTOFREE char *part = whole ? xstrdup(whole) : NULL;
    char *slash;
    while (part && (slash = strrchr(part, '/'))) {
        *slash = '\0';
        if (realpath(*part ? part : "/", real)) {
            char *result = absolute(real, whole + (slash - part));
            free(whole);
            return result;
        }
    }
    return whole;
}

/* Copies the node's folder. */
static int ask_folder(const char *home, char *folder, size_t size)
{
    AUTO(request_release) struct request q = request_new("status");
    AUTO(link_close) struct link l = LINK_INIT;
    struct ctl_reply r;
    struct bytes path;
    bool ok = true;
    int code = link_ask(&l, home, &q, &r);
    if (code)
        return code;
    if (!ctl_arg_bytes(&r.value, "folder", &path, &ok) || path.len == 0 || path.len >= size || memchr(path.p, '\0', path.len))
        return failed(err_set(ERR_BAD, "the node did not say where its folder is: see its log"));
    memcpy(folder, path.p, path.len);
    folder[path.len] = '\0';
    return 0;
}

int where_in_folder(const char *home, const char *typed, struct buf *out)
{
    char folder[PATH_MAX], real[PATH_MAX], cwd[PATH_MAX];
    int code = ask_folder(home, folder, sizeof folder);
    if (code)
        return code;
    if (!realpath(folder, real))
        memcpy(real, folder, sizeof real);
    const char *here = getcwd(cwd, sizeof cwd);
    if (*typed == '/' && where_path(folder, here, typed, out) == 0)
        return 0; /* named just as the node names it */
    AUTOFREE char *path = *typed == '/' ? resolved(typed) : xstrdup(typed);
    return failed(path ? where_path(real, here, path, out) : err_set(ERR_FULL, "no memory for a path"));
}
