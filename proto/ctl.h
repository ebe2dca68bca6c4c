/* ctl: what the command line and the node say to each other over the node's control socket (HOME/control.sock, mode 0600; the
 * node checks the peer's uid). A frame is its length (u32 LE, at most LIMIT_CTL_REQUEST / LIMIT_CTL_REPLY) and one msgpack object.
 *
 *   request  [1, command (str), arguments (map of str to value)]
 *   reply    [1, exit code, error text (str, "" when none), more (bool), value]
 * One request a connection; replies follow until one has more = false. The exit code is the contract's (0 done, 1 failed, 2 usage,
 * 3 timed out, 4 not running, 5 denied, 6 locked). Values are what --json prints: map, array, str, int, bool, nil; a bin is a path
 * (bytes) printed as a string; times are RFC 3339 strings, ids hex strings. The order of map keys is the order of printing.
 *
 * command     arguments                                value of the replies
 * status      -                                        the status map of the contract
 * wait        timeout_ms, peers                        nil, when it is so (code 3 when time is over)
 * scan        -                                        {"files", "changed", "errors"} when done
 * pause       -                                        nil
 * resume      accept_deletions (bool)                  nil
 * devices     -                                        array of the contract's device maps
 * invite      role, ttl_s, wait (bool)                 {"code", "role", "until"}; with wait, more = true and then {"id", "name"}
 * device      op = role|rename|revoke, name, to; op =  the device map, as it is now; recover, recovery: with "recovery", the new
 *             recover, phrase, revoke; op = recovery   phrase
 * log         path (bin) or none, limit, deleted       array of version maps, with "holders"; deleted: and "deleted", "deleted_by"
 * cat         path, version or none                    more = true: bin pieces of the content, at the end nil
 * restore     path, version | at (ms), to (bin),       {"path", "version", "device"}; of a directory, or without a path, at a time:
 *             dry_run, partial (bool)                  {"path", "restored", "deleted", "unchanged"}; dry_run: array of what would change
 * conflicts   -                                        array of {"path", "current", "losers"}
 * resolve     path, keep (version id)                  nil
 * require     op = create|status|cancel|export, id;   create, status: the requirement of the contract, or nil; cancel: nil; export: a file
 *             create:                                  of receipts (bin); dry_run:
 *             message, mode, until_ms, to (names, a    {"devices": [{"name", "id", "online", "state", "missing": {"files", "bytes"} or nil,
 *             line each), dry_run (bool); create,      "last_seen"}]}; wait: when all have reached it (code 3 when time is over)
 *             status: wait (bool), timeout_ms
 * gate        op = status|accept|wait|override|follow, the gate of the contract, and "waits" (for accept); follow: more = true: the
 *             timeout_ms; override: reason             gate as it is now, and at each change of "locked" or "waits"
 * policy      op = list|get|set|unset, key, value      list: array of, get, set: one {"key", "value", "default", "set", "type", "help"}; unset: nil
 * snapshot    op = list|create|remove|restore|export,  list: array of {"name", "device", "time", "files", "bytes", "complete", "current"};
 *             name, device, path (bin), dry_run (bool) restore: {"snapshot", "restored", "deleted", "bytes", "changes": [{"change",
 *                                                      "kind", "size", "path"}]}; export: more = true: bin pieces of a tar, at the end nil;
 *                                                      create, remove: nil
 * config      op = list|get|set, key, value            array of / one {"key", "value", "default", "type", "help"}
 * audit       since (ms), limit; verify (bool)         array of {"time", "device", "id", "record", "what", "about"}, newest first, and of
 *                                                      what is no record of the control log "path", "name", "reason", "files", "deleted";
 *                                                      verify: {"ok", "records", "streams", "sets", "entries", "forgotten", "faults":
 *                                                      [{"fault"}]}, with more = true when a failure follows
 * check       repair (bool, true)                      more = true: {"checked"}; at the end {"ok", "files", ..., "damaged": [{"what",
 *                                                      "name", "why", "state"}]}, with more = true when a failure follows
 * gc          -                                        {"folded", "expired", "packs", "pack_bytes", ...} when done
 * events      follow (bool)                            more = true: one map an event
 * down        -                                        nil, just before the node ends
 * version     -                                        {"version", "protocol", "libraries": {...}} */
#ifndef PROTO_CTL_H
#define PROTO_CTL_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/buf.h"
#include "proto/mp.h"

#define LANYARD_VERSION "0.1.0"
#define CTL_PROTOCOL 1u       /* the first field of a request and of a reply */
#define CTL_ARGS_MAX 64u      /* arguments of a request */
#define CTL_KEY_MAX 64u       /* bytes of a command's name, and of an argument's */

enum exit_code { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_TIMED_OUT = 3, EXIT_NOT_RUNNING = 4, EXIT_DENIED = 5, EXIT_LOCKED = 6 };
/* The exit code that an error code becomes. */
enum exit_code ctl_exit_code(int err);

struct ctl_request { struct bytes command, args; };          /* args: a raw map, checked */
struct ctl_reply { uint32_t code; struct bytes text; bool more; struct bytes value; };  /* value: one raw object, checked */

/* Appends a whole frame, length included. args / value may be NULL, 0 for an empty map / nil. */
int ctl_request_put(struct buf *out, const char *command, const void *args, size_t len) MUST_CHECK;
int ctl_reply_put(struct buf *out, enum exit_code code, const char *text, bool more, const void *value, size_t len) MUST_CHECK;
/* Looks for one whole frame at the start of data: its total length when there, 0 when more bytes are needed, ERR_BAD. */
int64_t ctl_frame(const void *data, size_t len, size_t max) MUST_CHECK;
/* Strict: ERR_BAD unless `frame` is one whole frame with exactly the form above, argument names all different. *out borrows from
 * it, and is zero on failure. */
int ctl_request_get(const void *frame, size_t len, struct ctl_request *out) MUST_CHECK;
int ctl_reply_get(const void *frame, size_t len, struct ctl_reply *out) MUST_CHECK;

/* One argument by name: false when absent (or nil), ERR_BAD never: a wrong type makes *ok false. On false *v is as it was. They
 * read any raw map, so the command line uses them on the values of replies. */
bool ctl_arg_u64(const struct bytes *map, const char *key, uint64_t *v, bool *ok);
bool ctl_arg_bool(const struct bytes *map, const char *key, bool *v, bool *ok);
bool ctl_arg_bytes(const struct bytes *map, const char *key, struct bytes *v, bool *ok);   /* str or bin */
bool ctl_arg_raw(const struct bytes *map, const char *key, struct bytes *v);               /* any object, as its raw bytes; nil too */

/* The path of the control socket of a home directory; ERR_FULL when it does not fit a sockaddr_un. */
int ctl_socket_path(const char *home, char out[static 108]) MUST_CHECK;
/* The home directory: `given` (--home, may be NULL), else $LANYARD_HOME, else $XDG_DATA_HOME/lanyard, else
 * $HOME/.local/share/lanyard. Empty variables count as unset, and so does a relative XDG_DATA_HOME, as its specification wants.
 * ERR_USAGE when none is there or `given` is empty, ERR_FULL when it does not fit. */
int ctl_home(const char *given, char *out, size_t size) MUST_CHECK;

#endif
