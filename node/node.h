/* node: everything of a running node, put together. node.c wires the parts: what one reports is passed to those it concerns. The parts
 * know nothing of each other but what their headers say, and nothing of this struct; only node.c, greet.c and api*.c see it.
 *
 *   watch -> scan -> engine -> (commit) -> publish              local changes go out
 *   peers/net -> engine -> want -> pull -> (commit) -> publish  remote changes come in
 *   net -> serve                                                content is handed out
 *   idle -> keeper                                      history is packed, and expires
 *   control socket -> api -> any of them                        what the user asks */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include "discovery/discovery.h"
#include "node/autosnap.h"
#include "node/config.h"
#include "node/engine.h"
#include "node/home.h"
#include "node/inviter.h"
#include "node/keeper.h"
#include "node/loop.h"
#include "node/net.h"
#include "node/peers.h"
#include "node/pool.h"
#include "node/pull.h"
#include "node/scan.h"
#include "node/serve.h"
#include "store/folder.h"
#include "store/index.h"

struct api;
struct hooks;
struct proof;
struct strict;
struct node {
    struct home *home;
    struct config config;
    struct loop *loop;
    struct pool *pool;
    struct net *net;
    struct peers *peers;
    struct index *index;
    struct folder *folder;           /* NULL while it is missing */
    struct engine *engine;
    struct scan *scan;               /* with the folder */
    struct pull *pull;               /* with the folder */
    struct serve *serve;             /* with the folder */
    struct keeper *keeper;           /* with the folder */
    struct discovery *discovery;     /* NULL without mDNS */
    struct inviter *inviter;
    struct api *api;
    struct gear gear;
    uint8_t inst[8];
    bool paused, cuts_due;           /* cuts_due: of a control_cuts that failed */
    bool restart, clean, folder_gone, was_busy;
    unsigned ticks;
    struct autosnap autosnap;
    uint64_t served;                 /* bytes, at the last tick */
    bool clock_off;                  /* from that of most others, and it has been said */
    bool sure;                       /* all of the folder has been looked at since the start */
    bool sought;                     /* and all heard since: pull_find */
    uint64_t twin_ms;                /* when a node with our keys was met last */
    char scan_error[256], pull_error[256], start_error[256], brake_error[256], twin_error[256], index_error[256], revoked_error[256], key_error[256];   /* "" = none */
    struct found { char instance[64]; uint32_t naddr; char addr[LIMIT_ADDRS][80]; } *found; size_t nfound;  /* by mDNS */
    uint8_t k_disc[32];
    struct loop_timer tick_timer;
    struct announced {                  /* announce.c: the vector that was published last, and when the next one goes out */
        struct loop_timer timer;
        bool soon;                      /* with news */
        uint64_t ctr;                   /* its number */
        uint64_t held_until;            /* announce_hold */
        uint64_t written, ctl_n, pause; /* so much of the own stream and of the control log; pause: before it is repeated */
    } announced;
    struct greet_pex *pex;
    struct far *far; struct gathering *gathering;
    struct audit *audit;
    struct ctl_request *ctl_requests;   /* control records that have been asked for and have not come yet */
    enum lock_state lock_state;         /* as lock.c saw it last */
    enum { LOCK_TOLD_UNKNOWN, LOCK_TOLD_NO, LOCK_TOLD_YES } lock_told;  /* whether this device is locked, as its user has heard last */
    uint64_t lock_blocks;               /* fetched, when lock.c looked last */
    uint8_t lock_told_of[16];           /* by which requirement the file LOCKED says; zero: not known */
    struct hooks *hooks;
    struct strict *strict;              /* with the folder */
    struct loop_timer lock_timer;
    struct proof *proof;
    struct judged { struct id dev, tip; uint64_t until; } judged[64]; unsigned njudged;   /* chains of control records that have lost: the newest */
};

/* For api: what the status shows. */
enum node_state { NODE_STARTING, NODE_SCANNING, NODE_SYNCING, NODE_IDLE, NODE_PAUSED, NODE_LOCKED, NODE_ERROR };
enum node_state node_state(struct node *n, const char **error);
/* This device has all that its online peers have, they have all of it, and at least `peers` of them are online. */
bool node_settled(struct node *n, size_t peers);
/* Linked, or in touch with others (far.h); how many are. */
bool node_online(const struct node *n, const struct id *dev);
size_t node_online_count(const struct node *n);
bool node_in_sync_with(struct node *n, const struct id *dev);
void node_pause(struct node *n, bool paused);
void node_stop(struct node *n);
/* Entries were committed by somebody (restore, resolve): publish and pull. */
void node_committed(struct node *n);
/* As the control log says it is. */
static inline const struct group *node_group(const struct node *n) { return control_group(n->home->control); }
/* A change that `lanyard events` tells of; keys and values alternate, NULL ends. */
void node_event(struct node *n, const char *event, ...);
void node_time(char out[static 40], uint64_t ms);   /* RFC 3339, UTC, milliseconds */

#endif
