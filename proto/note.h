/* note: what a device says of something that its user has done: an entry of kind KIND_NOTE (proto/record.h) whose content is one map.
 *
 *   {"deleted": u, "files": u, "name": text, "path": bin, "text": text, "what": text}
 * Keys are sorted and none is there twice; only "what" must be there; keys that a reader does not know are passed over. A note is not for
 * programs to act on: it is shown to people, and proved by the stream that it is in. At most LIMIT_NOTE bytes: what is longer is cut,
 * a path in the middle of a name, a text behind a whole character. */
#ifndef PROTO_NOTE_H
#define PROTO_NOTE_H

#include "proto/buf.h"
#include "proto/limits.h"
#include "proto/mp.h"

#define NOTE_WHAT 32         /* bytes of each */
#define NOTE_NAME 128
#define NOTE_PATH 400
#define NOTE_WORDS 300

/* Borrowed; len 0: is not there. */
struct note {
    struct bytes what;       /* "restored", "resolved", "deleted", "removed", "accepted", "overrode"; others may come */
    struct bytes path;       /* in the folder */
    struct bytes name;       /* of a snapshot, a version, a requirement */
    struct bytes text;       /* why, in the words of the user */
    uint64_t files, deleted; /* how many came back; how many went */
};
#define NOTE_STR(s) ((struct bytes){(const uint8_t *)(s), strlen(s)})

void note_encode(struct buf *out, const struct note *n);
int  note_decode(const void *data, size_t len, struct note *out) MUST_CHECK;     /* ERR_BAD */

#endif
