/* note: what users do is written down, for `lanyard audit`: entries of this device's stream (proto/note.h, engine_note). What is done in a
 * transaction of the engine is noted in the same one, by engine_note itself; these are for the rest. That something could not be noted
 * is logged, and undoes nothing. */
#ifndef NODE_NOTE_H
#define NODE_NOTE_H

#include "node/node.h"

void note_put(struct node *n, const struct note *note);
/* What the user of this device did about what is required of it: "accepted", "overrode". reason: may be NULL. */
void note_required(struct node *n, const char *what, const char *reason);

#endif
