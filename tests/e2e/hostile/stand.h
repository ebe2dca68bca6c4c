/* stand: the liar as a node that others dial. It greets, shows vectors and serves a book, and lies where it was told to. */
#ifndef HOSTILE_STAND_H
#define HOSTILE_STAND_H

#include "tests/e2e/hostile/book.h"

enum blocks_way { SERVE_TRULY, SERVE_SILENT, SERVE_TWISTED, SERVE_NOTHING };
struct stand {
    struct liar *l;
    void *router, *pub;
    uint16_t port;
    struct book *book, *second;          /* second: what everybody but the first caller is shown */
    struct id hello_as;                  /* none = truly */
    bool silent_cs, silent_ctl, silent_tree, malformed;   /* malformed: each answer behind the greeting, each in another way */
    bool false_ctl;                      /* names another control log with each vector, and shows one that it has signed itself */
    bool noise_tree;                     /* lists of any length, of nothing */
    enum blocks_way blocks;
    bool flood_vectors, flood_replies;
    uint64_t say_ctl_n;                  /* 0 = truly */
    struct vec_stream *claim; size_t nclaim;   /* without the book's own stream */
    bool generate;                       /* claims are true: streams of one entry; tip8 is the incarnation, and they are sorted by sid */
    struct buf replay;                   /* a vector to show instead of our own */
    const char *honest_at;               /* a file with the address of a node whose blocks are to be twisted */
    void *honest;                        /* the connection to it */
    struct id first; uint8_t route_first[16]; size_t routelen_first;
    struct buf heard;                    /* the first HELLO of somebody else */
    unsigned asked_cs, asked_blk, asked_tree, asked_ctl, asked_vec, hellos;
    uint64_t ctr, published, twists;
};
void stand_open(struct stand *s, struct liar *l);
/* Has the node at that address dial us. */
void stand_invite(struct stand *s, const char *address);
void stand_claim(struct stand *s, const struct sid *sid, uint64_t known);
/* Prints `ready ADDRESS` and serves until standard input ends, at most some minutes. Prints again and again how often it was asked. */
void stand_run(struct stand *s);
/* Until somebody has greeted us. */
bool stand_wait_hello(struct stand *s, int timeout_ms);

#endif
