/* joiner: the side of joining that is outside: finds the inviter, proves the code, gets the membership, makes home and folder.
 *
 * The inviter is at `at`, or found by mDNS: instances that announce the code's hint are dialled at once, those that announce
 * another one a little later, since a node announces one of its invites only. What is found proves nothing: whoever cannot show
 * that it knows the code learns one guess's worth, and there are few of those (EXCHANGES_MAX).
 *
 *   a try:  WAITING -> DIALLING --CURVE handshake--> CONNECTED --JOIN1--> ASKED --JOIN2 right, JOIN3--> PROVEN --JOIN4--> home_create
 *           any of them --refused, gone, too late--> OVER
 * Meanwhile the code is stretched in the pool; JOIN1 waits for that. Every wait has an end, so that a wrong code is answered within
 * seconds. */
#ifndef NODE_JOINER_H
#define NODE_JOINER_H

#include "proto/err.h"
#include "proto/pake.h"

struct joiner_request {
    const char *home, *folder;             /* folder: absolute */
    const char *name;                      /* of this device; device_name_check has passed */
    const char *code;                      /* in normal form */
    const char *at;                        /* HOST:PORT of the inviter's request socket, or NULL: look for it */
};

/* Blocks until it is done. The home is there afterwards, or nothing is.
 * ERR_DENIED: the code is wrong, used or expired, or no invite is open where we asked; ERR_TIMEOUT: nobody was found or answered;
 * those of home_create; ERR_IO. */
int joiner_run(const struct joiner_request *q) MUST_CHECK;

#endif
