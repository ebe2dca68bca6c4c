/* talk: the liar's end of the wire. It is a member (its home) or, with fresh keys, a stranger; it says what it likes. */
#ifndef HOSTILE_TALK_H
#define HOSTILE_TALK_H

#include <zmq.h>

#include "node/home.h"
#include "proto/msg.h"

struct liar {
    struct home *home;
    const struct group *group;
    const struct device_keys *keys;      /* the home's, or a stranger's own */
    void *zmq;
    uint8_t inst[8];                     /* of this start */
};
struct reply { zmq_msg_t head, body; bool has_body; struct msg m; };

void liar_open(struct liar *l, const char *home);        /* ends the program when it cannot */
__attribute__((noreturn)) void die(const char *fmt, ...) PRINTF(1, 2);
void must(int code);                                     /* ends the program unless 0 */

/* Sockets: with the group's CURVE keys, or (server_key NULL) without CURVE at all. */
void *talk_dial(struct liar *l, const char *address, const uint8_t *server_key);
void *talk_group(struct liar *l, const char *address);   /* with the group's server key */
void talk_raw(void *s, const void *head, size_t headlen, const void *body, size_t bodylen);   /* body NULL: one frame */
void talk_send(void *s, const struct msg *m);
/* Waits for the reply to m (other messages are dropped); false when there is none in time. */
bool talk_ask(void *s, struct msg *m, struct reply *r, int timeout_ms);
void reply_close(struct reply *r);
/* HELLO in the name of `dev` (signed by ourselves), with that port. */
bool talk_hello(struct liar *l, void *s, const struct id *dev, uint16_t port, struct reply *r);
bool talk_ping(void *s);
/* A dialled and greeted connection. */
void *talk_up(struct liar *l, const char *address, uint16_t port);
uint64_t now_ms(void);

/* What a node told about its streams and files. */
struct known_stream { struct sid sid; struct id dev; uint64_t known; };
struct known_file { struct id root; uint32_t nblocks; uint64_t size; };
struct learned { struct id peer; struct known_stream *stream; size_t nstream; struct known_file file, one; };   /* the largest; one of one block */
void learn(struct liar *l, void *s, const char *address, struct learned *out);
bool get_refs(void *s, const struct known_file *f, uint8_t **refs);

#endif
