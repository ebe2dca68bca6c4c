/* ignore: which paths of the folder are left alone, by rules in the syntax of gitignore(5).
 *
 *   struct ignore *ig = ignore_new();
 *   ignore_load(ig, text, len, ".lanyardignore"); ignore_load(ig, text, len, ".lanyard/ignore");
 *   walk top down: if (ignore_match(ig, path, len, is_dir)) skip it, and for a directory all that is beneath it
 *
 * All rules are relative to the folder. Among the rules that match a path the last one decides, so a file that is loaded later
 * overrides. A path beneath an ignored directory is ignored, whatever rules say about the path itself.
 * A line is one rule: blank ones and those that begin with # are none, spaces at its end do not count unless escaped, a carriage
 * return before the line's end and a byte order mark before the first line neither.
 *   !rule      takes matching paths in again          a/b, /a   (slash not at the end) from the folder's top; else at any depth
 *   rule/      directories only                       \x        the byte x itself
 *   *  ?       any bytes, any byte, but no slash      [a-z] [!a-z] [[:alpha:]]   one byte of a set, never a slash
 *   a/ ** /b   (without the spaces) any number of directories, also none; so too at the beginning; at the end: all beneath
 * A rule that could never match (unclosed set, unknown class, backslash at its end) is none. That is git's behaviour too, as is
 * everything that is not said here. Paths and rules are bytes: a UTF-8 letter is several for ? and for sets. Case counts.
 *
 * Rules come from other members, so time and memory are bounded: a match takes at most about (bytes of all rules) x (bytes of the
 * path) steps. A loaded set is read-only and may be used by several threads. */
#ifndef STORE_IGNORE_H
#define STORE_IGNORE_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/err.h"

#define IGNORE_TEXT  (1024u * 1024)        /* bytes of one file of rules */
#define IGNORE_LINE  4096u                 /* bytes of a line that is a rule */
#define IGNORE_RULES 4096u                 /* rules of a text */
#define IGNORE_MEMORY (16u * 1024 * 1024)  /* bytes of tokens, and of sets, that they are compiled to */

struct ignore;
struct ignore *ignore_new(void);           /* no rules: ignores nothing */
void ignore_free(struct ignore **ig);

/* Adds the rules of a text; `name` is for messages only. ERR_BAD with "NAME: line N: ..." when a rule holds a NUL or passes a limit,
 * and with "NAME: ..." when the text is too long; the set is then as before. The limits hold for each text, so that
 * one takes no room from those that are loaded after it. */
int ignore_load(struct ignore *ig, const char *text, size_t len, const char *name) MUST_CHECK;

/* Whether the rules ignore this path, when none of its parents is ignored. A link to a directory is no directory. */
bool ignore_match(const struct ignore *ig, const char *path, size_t len, bool is_dir);
/* The same for a path of which nothing is known: its parents are looked at, too. */
bool ignore_match_deep(const struct ignore *ig, const char *path, size_t len, bool is_dir);

#endif
