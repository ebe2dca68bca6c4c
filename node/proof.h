/* proof: the receipts that an owner's or admin's device keeps (proto/receipt.h): of every device, for each of the requirements that the
 * group holds, the first vector in which it says that it has reached it, and shows it; of one that left files out, the first without that.
 * Others keep none.
 *
 *   proof_new: reads those of the index
 *   if (proof_wants(p, dev)) proof_note(p, vector of dev)      when a vector has been taken
 *   if (proof_unsaved(p)) proof_save(p)                        now and then: one transaction for many
 * What is lost by a crash before proof_save comes again with the next vector. A receipt that names a control record of a chain that has
 * lost is none any more, and is replaced; so is one of an earlier requirement with the same id. */
#ifndef NODE_PROOF_H
#define NODE_PROOF_H

#include "node/engine.h"
#include "store/control.h"

struct proof;
struct proof_config { struct index *index; struct control *control; struct engine *engine; struct id self; };   /* borrowed for its life */
int  proof_new(const struct proof_config *c, struct proof **out) MUST_CHECK;
void proof_free(struct proof **p);

bool proof_wants(const struct proof *p, const struct id *dev);
void proof_note(struct proof *p, const void *blob, size_t len);
bool proof_unsaved(const struct proof *p);           /* also while something is kept of what nobody holds any more */
int  proof_save(struct proof *p, uint64_t wall_ms) MUST_CHECK;

/* When that device signed it; 0: there is no receipt, or it is not saved yet. */
uint64_t proof_signed_ms(const struct proof *p, const uint8_t id[static 16], const struct id *dev);
/* A file of receipts for one of the group's requirements. ERR_FULL: too long for one. */
int  proof_export(struct proof *p, const uint8_t id[static 16], struct buf *out) MUST_CHECK;

#endif
