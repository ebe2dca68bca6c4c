/* err: how every function of Lanyard fails.
 *
 * A function that can fail returns 0, or a positive "what happened", or one negative code from the list below. The code is
 * chosen by what the caller does next, not by what went wrong; what went wrong is the text. The text is thread-local, set once
 * where the failure is found (err_set), and outer layers may only put words in front of it (err_prefix). A later success does
 * not clear it: read it only after a failure. Bugs of our own are asserted, never returned.
 *
 * Texts are one line, without the program's name, in the form "what went wrong, to what: what to do about it". */
#ifndef PROTO_ERR_H
#define PROTO_ERR_H

#include <stdarg.h>

enum err {
    ERR_BAD      = -1,  /* the input breaks a rule: refuse it; the same input will never be good */
    ERR_DENIED   = -2,  /* well formed, but the one who asks may not: refuse, remember who */
    ERR_NOTFOUND = -3,  /* there is no such thing */
    ERR_EXISTS   = -4,  /* there is already such a thing */
    ERR_AGAIN    = -5,  /* not now (something earlier is missing, or it is busy): try later, unchanged */
    ERR_CHANGED  = -6,  /* the file is no longer what we decided upon: look again, decide again */
    ERR_FULL     = -7,  /* no room: disk, quota, or a limit of ours */
    ERR_IO       = -8,  /* the operating system or a library said no; errno is in the text */
    ERR_CORRUPT  = -9,  /* our own stored data is damaged: do not use it, say how to mend it */
    ERR_TIMEOUT  = -10, /* the time that was given is over */
    ERR_CLOSED   = -11, /* the other side, or the thing itself, is gone */
    ERR_USAGE    = -12, /* the user asked in a wrong way */
    ERR_LOCKED   = -13, /* a version that is required must be reached first */
};

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF(a, b) __attribute__((format(printf, a, b)))

/* Sets the text and returns `code`, so that one writes: return err_set(ERR_BAD, "path %s: ...", p);
 * `%m` is the errno of the call before. Control characters in the result are replaced by '?'. */
int err_set(enum err code, const char *fmt, ...) PRINTF(2, 3);

/* Puts "words: " in front of the text and returns `code` unchanged. */
int err_prefix(int code, const char *fmt, ...) PRINTF(2, 3);

/* The text of this thread's last failure; "" when there was none. Valid until the thread's next err_ call. */
const char *err_text(void);

/* The name of a code, for logs: "bad", "denied"... */
const char *err_name(int code);

/* Scope cleanup: AUTO(buf_release) struct buf b = ...; AUTOFREE char *s = ...; */
#define AUTO(fn) __attribute__((cleanup(fn)))
void free_ptr(void *pp); /* frees *(void **)pp */
#define AUTOFREE AUTO(free_ptr)

/* Small fixed allocations that abort when there is no memory; anything sized by a peer or a file goes through buf.h. */
void *xcalloc(unsigned long n, unsigned long size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *p, unsigned long n, unsigned long size) __attribute__((returns_nonnull)); /* n*size checked */
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));

#endif
