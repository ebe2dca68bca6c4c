/* pex: address cards, by which devices that know each other only through a third one find each other. Each device signs a card with
 * its own addresses; whoever holds one passes it on. This keeps the cards: one a device, the newest. Pure: no sockets, no clock.
 *
 *   received -> pex_take -> held -> pex_tick -> used: hinted, kept, told to others (pex_news)
 * A card is taken only under the signature of a member, when it is newer than the one held and not of the future. Its addresses are
 * hints and prove nothing: CURVE and the greeting decide who is there. At most one card of a device is used in PEX_GAP_MS, the
 * newest, so that nobody who signs many has many addresses dialled, written or passed on. */
#ifndef NODE_PEX_H
#define NODE_PEX_H

#include "proto/group.h"

#define PEX_CARDS 16            /* in one request: each costs its reader a signature */
#define PEX_GAP_MS 5000

struct pex;
struct pex_ops {
    /* Where a device can be dialled, in place of what was hinted before; n = 0: nowhere. Only addresses that address_kind finds worth
     * dialling; loopback ones only when our own card has one. */
    void (*hint)(void *arg, const struct id *dev, uint32_t n, char (*addr)[64]);
    void (*keep)(void *arg, const struct id *dev, const void *blob, size_t len);   /* for pex_restore at the next start */
    void *arg;
};
/* listen: as really listened on. All is borrowed. */
struct pex_config { const struct device_keys *keys; const struct group *group; const char *listen; struct pex_ops ops; };

void pex_new(const struct pex_config *c, struct pex **out);
void pex_free(struct pex **p);
/* A card that was kept before; one that is not good any more is ignored. */
void pex_restore(struct pex *p, const void *blob, size_t len, uint64_t wall_ms);
/* To be called every second: signs a card of our own when there is none or our addresses have changed, uses what is new, forgets
 * revoked devices. now_ms is monotonic. */
void pex_tick(struct pex *p, uint64_t now_ms, uint64_t wall_ms);
/* The body of a PEX of `from` with at most `most` cards. Returns how many it has: 0 = it asks for what we hold. A card that is
 * malformed or forged ends the reading: ERR_BAD, ERR_DENIED; others that cannot be taken are passed over. Logs both, seldom. */
int  pex_take(struct pex *p, const struct id *from, const void *body, size_t len, uint32_t most, uint64_t wall_ms) MUST_CHECK;

/* Bodies to send. All that is held, as far as LIMIT_CS_REPLY goes; */
void pex_all(const struct pex *p, struct buf *body);
/* what was used after number `told`, oldest first, at most PEX_CARDS, without what `to` knows itself: returns the number to go on
 * from, *n how many. Numbers begin behind 0; the last is pex_last. */
uint64_t pex_news(const struct pex *p, const struct id *to, uint64_t told, struct buf *body, uint32_t *n);
uint64_t pex_last(const struct pex *p);

#endif
