/* phrase: what an owner writes down and keeps, for the day when his machine is gone. 26 symbols of Crockford's base32 in groups of five: 25
 * random ones (125 bits) and a check symbol, by the rules of an invite code (proto/pake.h; both are in code.c). It stands for an Ed25519
 * key: Argon2id (64 MiB, t = 3, one lane, salt "lanyard-recover-") of the 31 bytes of the normal form gives its seed. */
#ifndef PROTO_PHRASE_H
#define PROTO_PHRASE_H

#include "proto/keys.h"

#define PHRASE_SYMBOLS 26
#define PHRASE_TEXT 32                     /* "XXXXX-XXXXX-XXXXX-XXXXX-XXXXX-X" and NUL */

void phrase_generate(char out[static PHRASE_TEXT]);
int  phrase_normalise(const char *typed, char out[static PHRASE_TEXT]) MUST_CHECK;   /* as code_normalise */
/* Sets dev and sign_sk, with which ctl_encode signs; the transport keys stay. ERR_FULL when there is no memory to stretch it. */
int  phrase_keys(const char phrase[static PHRASE_TEXT], struct device_keys *k) MUST_CHECK;

#endif
