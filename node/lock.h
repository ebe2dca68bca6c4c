/* lock: what the node does about a version that is required of this device: it asks the engine where it is with that (engine.h), and
 * makes the consequences real. While the device is locked, only what is required is pulled, in mode prompt nothing before the user
 * has accepted, and others are not shown what is written here (that is the engine's). Who looks at the folder finds
 * FOLDER/.lanyard/LOCKED, a text of which the last line is a JSON object; it is there while the device is locked, also while no node
 * runs. In mode strict files are read-only (strict.h), and it is over when they are so no longer. Events: `locked`, `unlocked`, each once,
 * whatever restarts there are in between. */
#ifndef NODE_LOCK_H
#define NODE_LOCK_H

#include "node/node.h"

/* At the start, before anything of the folder is there; then when the control log or a vector is news, before anything is done about what it
 * brings. */
void lock_now(struct node *n);
void lock_folder(struct node *n);         /* the folder has its parts */
void lock_free(struct node *n);           /* after the pool */
bool lock_touches(const struct node *n, const char *path, size_t len);   /* as pull_busy: the mode of that file is being changed */
void lock_poll(struct node *n);           /* something else may have changed: is looked at soon */
void lock_vector(struct node *n, const struct id *dev, const void *blob, size_t len);    /* lock_now, for a vector that was taken */
bool lock_holds(const struct node *n);    /* the user must not work on */
/* 0 unless this device is locked: ERR_LOCKED, with who wants what. For what makes other contents the present ones at the user's word: restore,
 * resolve. What only looks is never refused, and naming what is there (snapshot create) changes nothing. */
int  need_unlocked(struct node *n) MUST_CHECK;
int  lock_accept(struct node *n) MUST_CHECK;       /* as engine_lock_accept */
/* The user goes on without what is required. It is recorded with the reason, and told to all. As engine_lock_override; ERR_DENIED: the policy
 * does not allow it; ERR_USAGE: no reason, or not a text of one line. */
int  lock_override(struct node *n, const char *reason) MUST_CHECK;

#endif
