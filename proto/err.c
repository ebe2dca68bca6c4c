#include "proto/err.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 1024

static _Thread_local char text[TEXT_MAX];

/* A hostile string must not be able to forge a log line or to drive a terminal: C0, DEL and, in UTF-8, C1 become '?'. */
static void defuse(char *s)
{
    for (unsigned char *p = (unsigned char *)s; *p; p++) {
        if (*p < 0x20 || *p == 0x7f)
            *p = '?';
        else if (*p == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)
            p[0] = p[1] = '?';
    }
}

int err_set(enum err code, const char *fmt, ...)
{
    assert(code < 0);
    char fresh[TEXT_MAX]; /* not into `text` at once: the arguments may contain err_text() */
    va_list ap;
    fresh[0] = '\0';
    va_start(ap, fmt);
    vsnprintf(fresh, sizeof fresh, fmt, ap);
    va_end(ap);
    defuse(fresh);
    memcpy(text, fresh, strlen(fresh) + 1);
    return code;
}

int err_prefix(int code, const char *fmt, ...)
{
    char words[TEXT_MAX] = "";
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    return err_set(code, "%s: %s", words, text);
}

const char *err_text(void)
{
    return text;
}

const char *err_name(int code)
{
    static const char *const names[] = {
        [-ERR_BAD] = "bad",         [-ERR_DENIED] = "denied",   [-ERR_NOTFOUND] = "notfound", [-ERR_EXISTS] = "exists",
        [-ERR_AGAIN] = "again",     [-ERR_CHANGED] = "changed", [-ERR_FULL] = "full",         [-ERR_IO] = "io",
        [-ERR_CORRUPT] = "corrupt", [-ERR_TIMEOUT] = "timeout", [-ERR_CLOSED] = "closed",     [-ERR_USAGE] = "usage",     [-ERR_LOCKED] = "locked",
    };
    if (code >= 0)
        return "ok";
    if (code < ERR_LOCKED)
        return "unknown";
    return names[-code];
}

void free_ptr(void *pp)
{
    void *p;
    memcpy(&p, pp, sizeof p); /* pp points to a pointer of any type: copying it breaks no aliasing rule */
    free(p);
}

static void out_of_memory(unsigned long n, unsigned long size)
{
    fprintf(stderr, "out of memory: %lu x %lu bytes\n", n, size);
    abort();
}

void *xcalloc(unsigned long n, unsigned long size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p)
        out_of_memory(n, size);
    return p;
}

void *xrealloc(void *p, unsigned long n, unsigned long size)
{
    void *q = reallocarray(p, n ? n : 1, size ? size : 1);
    if (!q)
        out_of_memory(n, size);
    return q;
}

char *xstrdup(const char *s)
{
    size_t len = strlen(s) + 1;
    return memcpy(xcalloc(1, len), s, len);
}
