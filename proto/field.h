/* field: reads the fields of one record or message in order and remembers the first that was wrong.
 *
 *   struct field f;
 *   field_open(&f, "card", rec, len, 512, 6);         an array of exactly 6 fields, at most 512 bytes
 *   field_format(&f, 1);
 *   field_id(&f, "dev", &c->dev);
 *   c->caps = field_u64(&f, "caps", 0, RECORD_CAPS_MAX);
 *   return field_done(&f);
 *
 * Sticky like proto/mp.h, which it stands on: after the first failure every later call yields zero or empty and changes nothing,
 * so a decoder reads straight down and checks once. The text of the failure is set when it happens and names record and field.
 * Byte strings are borrowed from the input. */
#ifndef PROTO_FIELD_H
#define PROTO_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/id.h"
#include "proto/mp.h"

struct field {
    struct mp m;          /* may be read directly; then call field_check */
    const char *rec;      /* the record's name in error texts */
    int code;             /* 0, or the code of the first failure */
};

/* Exactly one msgpack array of n fields in at most max bytes, checked by mp_check. */
void field_open(struct field *f, const char *rec, const void *data, size_t len, size_t max, uint32_t n);
/* The same without the array: the caller reads its header. */
void field_open_any(struct field *f, const char *rec, const void *data, size_t len, size_t max);
void field_format(struct field *f, uint64_t format);                          /* the leading format number */
uint64_t field_u64(struct field *f, const char *name, uint64_t min, uint64_t max);
void field_fixed(struct field *f, const char *name, void *out, size_t len);   /* bin of exactly len bytes */
void field_id(struct field *f, const char *name, struct id *out);             /* 32 bytes, not all zero */
void field_id_or_none(struct field *f, const char *name, struct id *out);     /* 32 bytes */
struct bytes field_bin(struct field *f, const char *name, size_t min, size_t max);
struct bytes field_text(struct field *f, const char *name, size_t min, size_t max); /* str that text_ok accepts */
uint32_t field_list(struct field *f, const char *name, uint32_t min, uint32_t max); /* array: number of elements that follow */
void field_tuple(struct field *f, const char *name, uint32_t n);              /* array of exactly n */
struct bytes field_raw(struct field *f, const char *name);                    /* any one object as its bytes */

/* The rule `ok` about a field; `why` completes "NAME: ". */
void field_rule(struct field *f, bool ok, const char *name, const char *why);
/* After direct reads of f->m: turns their failure into this field's. */
void field_check(struct field *f, const char *name, const char *why);
/* The result of a decoder for something nested: a negative one becomes this field's failure and keeps its code and text. */
void field_nested(struct field *f, const char *name, int code);
/* 0 when everything was read and nothing was wrong, else the code of the first failure. */
int field_done(struct field *f) MUST_CHECK;

/* Text that people will see: valid UTF-8 without control characters, line separators or characters that reorder what is
 * around them, so that it can neither forge a line of a log nor drive a terminal. */
bool text_ok(const void *s, size_t len);

#endif
