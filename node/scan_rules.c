/* The rules for what is left alone: a file that is synced, one of this device alone, and the policy of the group, in this order, so that
 * no device takes in again what the policy leaves out.
 *
 * Each stands for itself. Where one cannot be read, that is said, and it stays as it was last: to forget rules would publish what was meant
 * to stay private. What others write (the synced file, the policy) never keeps this device's own rules from holding. Of those, as long
 * as they have not been read once, nothing is known: then everything is left alone. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/scan_priv.h"
#include "proto/policy.h"
#include "store/ignore.h"

#define ALL "*\n"

static const char *const names[] = {[RULES_SYNCED] = RULES_FILE, [RULES_OWN] = ".lanyard/ignore", [RULES_GROUP] = "policy `ignore`"};

static int read_all(int fd, const char *name, struct buf *text)
{
    ssize_t n;
    do {
        char piece[8192];
        n = read(fd, piece, sizeof piece);
        if (n > 0)
            buf_add(text, piece, (size_t)n);
    } while (n > 0 || (n < 0 && errno == EINTR));
    if (n < 0)
        return err_set(ERR_IO, "%s: %m", name);
    return buf_ok(text) ? 0 : err_set(ERR_BAD, "%s: longer than %u bytes", name, IGNORE_TEXT);
}

static int read_file(const struct scan *s, const char *name, struct buf *text)
{
    AUTOFREE char *full = NULL;
    if (asprintf(&full, "%s/%s", folder_path(s->c.folder), name) < 0)
        return err_set(ERR_FULL, "%s: no memory", name);
    int fd = open(full, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_set(ERR_IO, "%s: %m", name);
    int r = read_all(fd, name, text);
    close(fd);
    return r;
}

static int read_text(const struct scan *s, enum rules_source from, struct buf *text)
{
    if (from != RULES_GROUP)
        return read_file(s, names[from], text);
    struct bytes policy = policy_text(s->c.group, "ignore");
    buf_add(text, policy.p, policy.len);
    return 0;
}

static int add(struct ignore *ig, enum rules_source from, const struct buf *text)
{
    return ignore_load(ig, (const char *)text->data, text->len, names[from]);
}

static void add_last(struct scan *s, struct ignore *ig, enum rules_source from)
{
    s->c.ops.trouble(s->c.ops.arg, names[from], strlen(names[from]), err_text());
    int r = add(ig, from, &s->rules_text[from]);
    assert(r == 0);                      /* it could be read before, and what the others say takes no room from it */
    (void)r;
}

static void add_source(struct scan *s, struct ignore *ig, enum rules_source from)
{
    struct buf text = BUF_INIT(IGNORE_TEXT);
    int r = read_text(s, from, &text);
    if (r == 0)
        r = add(ig, from, &text);
    if (r == 0) {
        buf_release(&s->rules_text[from]);
        s->rules_text[from] = text;
    } else {
        buf_release(&text);
        add_last(s, ig, from);
    }
}

/* Of the texts up to `last`. */
static struct id hash_of(const struct scan *s, enum rules_source last)
{
    struct id hash = {{1}};
    for (enum rules_source i = RULES_SYNCED; i <= last; i++)
        if (s->rules_text[i].len)
            hash = id_hash_tagged((uint8_t)i, &hash, sizeof hash, s->rules_text[i].data, s->rules_text[i].len);
    return hash;
}

void rules_begin(struct scan *s)
{
    s->ignore = ignore_new();
    for (enum rules_source i = RULES_SYNCED; i < RULES_SOURCES; i++)
        s->rules_text[i] = (struct buf)BUF_INIT(IGNORE_TEXT);
    buf_add_str(&s->rules_text[RULES_OWN], ALL);
}

void rules_load(struct scan *s)
{
    struct ignore *ig = ignore_new();
    for (enum rules_source i = RULES_SYNCED; i < RULES_SOURCES; i++)
        add_source(s, ig, i);
    ignore_free(&s->ignore);
    s->ignore = ig;
    s->rules_changed = false;
    struct id synced = hash_of(s, RULES_SYNCED), hash = hash_of(s, RULES_GROUP);
    bool others = !id_eq(&s->rules, &hash);
    s->rules = hash;
    if (others)
        s->c.ops.rules(s->c.ops.arg, &hash, !id_eq(&synced, &hash));
}

void rules_release(struct scan *s)
{
    ignore_free(&s->ignore);
    for (enum rules_source i = RULES_SYNCED; i < RULES_SOURCES; i++)
        buf_release(&s->rules_text[i]);
}
