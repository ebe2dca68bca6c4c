/* joiner_priv: what joiner.c (searching, deadlines, life cycle) and joiner_try.c (one connection and its exchange) share. */
#ifndef NODE_JOINER_PRIV_H
#define NODE_JOINER_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "discovery/discovery.h"
#include "node/address.h"
#include "node/joiner.h"
#include "node/loop.h"
#include "node/pool.h"
#include "proto/keys.h"

enum { TRIES_MAX = 32 };          /* addresses dialled */
enum { EXCHANGES_MAX = 8 };       /* JOIN1 sent: each lets a liar test one guess of the code */
#define JOIN_OFFSET 2             /* of the join port behind the request port (node/net.h) */

struct joiner;
struct try {
    struct joiner *j;
    enum { TRY_WAITING, TRY_DIALLING, TRY_CONNECTED, TRY_ASKED, TRY_PROVEN, TRY_OVER } state;
    char instance[64], address[ADDRESS_TEXT];              /* the request socket's */
    uint64_t due;                                          /* WAITING, CONNECTED: not before; else: too late after */
    void *socket, *monitor;
    uint8_t pk[32];                                        /* CURVE key of this connection */
    struct pake *pake;
    bool asked;                                            /* JOIN1 has cost the inviter a try */
};
struct joiner {
    const struct joiner_request *q;
    struct loop *loop;
    struct pool *pool;
    void *zmq;
    struct discovery *discovery;
    struct loop_timer tick;
    uint64_t started, first_seen;                          /* first_seen: 0 = no node at all */
    struct job stretch; uint8_t prs[32]; int stretch_code; /* the worker's, until: */
    bool stretched;
    struct device_keys *keys;
    struct buf card;
    struct try try[TRIES_MAX]; unsigned ntry, nexchange;
    bool done; int code; char text[512];                   /* the result; before that the best reason to fail so far */
};

/* The end of everything, with err_text() as the reason when code < 0. */
void joiner_finish(struct joiner *j, int code);
/* A reason to fail, should nothing else succeed: a refusal says more than a silence. */
void joiner_remember(struct joiner *j, int code);

/* Does what is due now. */
void try_step(struct try *t);
void try_close(struct try *t);

#endif
