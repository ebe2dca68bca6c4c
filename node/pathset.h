/* pathset: a set of paths (bytes), each with a small number attached. Open addressing, grows, forgets. */
#ifndef NODE_PATHSET_H
#define NODE_PATHSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pathset { struct pathset_slot { char *path; uint32_t len; uint32_t value; } *slot; size_t n, used, cap; };
/* Copies, or replaces the value. Returns its copy, which stays where it is until the path is deleted. */
const char *pathset_put(struct pathset *s, const char *path, size_t len, uint32_t value);
bool pathset_get(const struct pathset *s, const char *path, size_t len, uint32_t *value);  /* value may be NULL */
void pathset_del(struct pathset *s, const char *path, size_t len);
/* Goes through the set in no order: *i starts at 0; NULL at the end. What was returned may be deleted at once, nothing may be put in. */
const struct pathset_slot *pathset_next(const struct pathset *s, size_t *i);
void pathset_release(struct pathset *s);

#endif
