/* state: the struct behind discovery.h and the two files that work on it.
 *
 * discovery.c has the calls of the loop, the thread's life and the reports of the backends; mdns.c has what the thread does between
 * two rounds of the poll: discovery_step. No lock is held while a backend is called, since that may block. */
#ifndef DISCOVERY_STATE_H
#define DISCOVERY_STATE_H

#include <avahi-common/simple-watch.h>
#include <pthread.h>

#include "discovery/backend.h"

struct resolvers { void **v; size_t n, cap; };

struct discovery {
    uint16_t port, pub_port;
    bool has_key;
    uint8_t k_disc[32];
    bool (*allow)(const char *name);
    int event_fd, wake_fd, done_fd;
    pthread_t thread;

    pthread_mutex_t lock;           /* guards this part; the structure of instances is changed by the thread only */
    struct instances instances;
    char hint[HINT_TEXT];
    bool quit, done, orphan;        /* orphan: the thread frees everything itself */
    enum disc_backend at_work;
    char text[288];

    /* The rest is the thread's. */
    AvahiSimplePoll *poll;
    struct backend client, embedded, *active;
    struct resolvers dropped;       /* to be freed outside callbacks */
    int64_t wake_at, tick_at, client_at, embedded_at;
    int64_t busy_since;             /* of the daemon; 0 = it is not busy */
    char why_client[128], why_embedded[128];

    char instance[INSTANCE_TEXT];
    bool published;                 /* the active backend has a group of ours */
    int64_t published_at, publish_at, backoff;
    struct txt txt;                 /* as published */
    int iface[IFACES_MAX], nifaces;
};

int64_t discovery_now(void);                    /* milliseconds of the steady clock */
void discovery_unlock(struct discovery *d);     /* after a change of instances: the descriptor becomes readable if there is news */
void discovery_step(struct discovery *d);       /* everything that is due; sets wake_at, when to call it at the latest */

#endif
