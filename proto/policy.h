/* policy: what an owner or admin lays down for all devices, in records of the control log (operation POLICY): a map from keys to values.
 *
 * A record sets the keys that it names; nil as the value takes one away. What is not set has its default. Keys that this version does
 * not know are kept and shown, and do nothing; a value that a key cannot have (a later version may allow more) counts as not set.
 * Policies bind those who do something: the device that writes an entry, that makes a requirement, that is unlocked, that forgets. Nobody
 * refuses what somebody else has done against one: devices hear of a policy at different times, and would not agree any more. */
#ifndef PROTO_POLICY_H
#define PROTO_POLICY_H

#include "proto/group.h"

#define POLICY_TEXT_MAX 16384u    /* bytes of a text */

enum policy_type { POLICY_NUMBER, POLICY_SIZE, POLICY_SWITCH, POLICY_MODES, POLICY_TEXT };
struct policy_key { const char *key; enum policy_type type; uint64_t min, max; const char *def, *help; };
extern const struct policy_key policy_keys[];                    /* ends with a key that is NULL */
const struct policy_key *policy_find(const char *key);           /* NULL: there is none */
const char *policy_type_name(enum policy_type t);

/* A value as a person writes it: appends the object that stands for it. ERR_USAGE "KEY: ...". */
int  policy_parse(const struct policy_key *k, const char *text, struct buf *value) MUST_CHECK;
bool policy_is_valid(const struct policy_key *k, const struct bytes *value);
/* The value that counts: that of the group, or the default; as an object. */
void policy_value(const struct group *g, const struct policy_key *k, struct buf *value);

/* What a POLICY operation says, for people: "ignore, max_file_size 3072, require.modes none": of texts only the key, "none" for one that is
 * taken away. */
void policy_describe(struct buf *out, const struct bytes *map);

/* The same of keys of the table. */
uint64_t policy_number(const struct group *g, const char *key);  /* also of a size; a switch is 0 or 1 */
struct bytes policy_text(const struct group *g, const char *key);      /* borrowed from g; not set: empty */
bool policy_allows(const struct group *g, enum require_mode m);

#endif
