/* home: the directory of one node: who this device is and which group it belongs to.
 *   device.key   0600  msgpack: [1, sign_sk(64), tr_pk(32), tr_sk(32), card blob]
 *   group.key    0600  msgpack: [1, group_id(32), k_group(32), k_epoch(32), epoch]
 *   control.log        the group's control log (store/control.h)
 *   control.lost       what of it lost against another one and is not signed again yet (node/lost.h)
 *   config             text (node/config.h); names the folder
 *   index.db           the index; may be lost without losing anything of the user's
 *   control.sock       the command line's way in (proto/ctl.h)
 *   lock               held (flock) while a node runs: one process a home
 *   token              says whether home, index and folder are of one moment (node/continuity.h)
 *   running            present while a node runs: found at the start it means that the last stop was not a clean one
 *   hooks/             programs of the user's, if he likes (node/hook.h)
 *   log                of a detached node
 * The directory is made with mode 0700. Every file is written to a temporary name, flushed and renamed; device.key comes last, so
 * where it is, everything is. */
#ifndef NODE_HOME_H
#define NODE_HOME_H

#include <stdbool.h>

#include "proto/keys.h"
#include "proto/pake.h"
#include "store/control.h"

struct home {
    char *path;
    struct device_keys *keys;
    struct group_keys *group_keys;
    struct buf card;              /* own signed card blob */
    struct control *control;
    int lock;
    bool unclean;                 /* the last run did not end by itself */
};

/* What a home is made of; all borrowed. Without `group` the device founds a new group with itself as owner; with it it enters that group:
 * group keys, genesis, control log and the peers of the config come from there. */
struct home_parts {
    const struct device_keys *keys; struct bytes card;    /* of the device, made before */
    const char *folder;
    const struct membership *group;
    struct id recovery;           /* of a group that it founds: the key that its first record names (proto/phrase.h), or none */
};
/* Makes a home for a new device, and its folder.
 * ERR_EXISTS when there is one already: "home PATH: already holds a device: use another --home, or remove it", and when the folder
 * belongs to another group; ERR_DENIED when the group does not make this device a member; ERR_USAGE when the folder is not absolute or
 * contains the home, whose keys must not be synced. On failure nothing is left behind but empty directories and, if only the last
 * step failed, the marker in the folder. */
int  home_create(const char *path, const struct home_parts *parts) MUST_CHECK;
/* 0 when home_create may be tried: the same ERR_EXISTS as there, before anything else is done. */
int  home_vacant(const char *path) MUST_CHECK;
/* Opens and locks. ERR_NOTFOUND "home PATH: no device here: run lanyard init or lanyard join", ERR_EXISTS when a node runs,
 * ERR_CORRUPT with the file's name and the remedy, ERR_DENIED when a secret file is readable by others. */
int  home_open(const char *path, struct home **out) MUST_CHECK;
void home_close(struct home **h, bool clean);  /* clean: removes `running` */
/* Marks the run as begun; home_open has read what was there before. */
int  home_mark_running(struct home *h) MUST_CHECK;
/* Writes group.key anew, after the keys of a new epoch came. */
int  home_save_group_keys(const struct home *h) MUST_CHECK;
char *home_file(const struct home *h, const char *name);   /* "PATH/name", to be freed */
/* Default device name: the host name's first label, made fit for device_name_check. */
void home_default_name(char out[static LIMIT_DEVICE_NAME + 1]);

#endif
