/* record_sign: the steps that all signed records share. Private to proto/record_*.c. */
#ifndef PROTO_RECORD_SIGN_H
#define PROTO_RECORD_SIGN_H

#include "proto/record.h"

/* The end of an encoder: `code` is what the record's own reader said of `rec`. Signs and appends the blob, or leaves out alone. */
int record_sign(struct buf *out, const char *what, const char *context, const struct buf *rec, int code,
                const struct device_keys *k) MUST_CHECK;
/* The begin of a decoder: splits the blob, naming the record if that fails. */
int record_split(const char *what, const void *blob, size_t len, struct bytes *rec, const uint8_t **sig) MUST_CHECK;
/* The end of a decoder: the signature of `dev`. */
int record_verify(const char *what, const char *context, const struct bytes *rec, const uint8_t *sig, const struct id *dev) MUST_CHECK;

#endif
