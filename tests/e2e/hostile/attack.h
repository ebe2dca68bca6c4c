/* attack: the liar as a client of a running node. Each returns when the attack is over, and ends the program when the node does not
 * behave as docs/PROTOCOL.md says. */
#ifndef HOSTILE_ATTACK_H
#define HOSTILE_ATTACK_H

#include "tests/e2e/hostile/talk.h"

void attack_no_entry(struct liar *l, const char *address);     /* stranger, null, wrong-server-key */
void attack_hello_other(struct liar *l, const char *address);                   /* HELLO in the name of another member */
void attack_heads(struct liar *l, const char *address);                         /* every kind of malformed message */
void attack_ranges(struct liar *l, const char *address);                        /* well formed nonsense */
/* Requests for some seconds over some connections, no reply of which is read. */
void attack_flood(struct liar *l, const char *address, const char *what, int seconds, int connections);
void attack_ports(struct liar *l, const char *address, int n);                  /* HELLO with ever new ports */

#endif
