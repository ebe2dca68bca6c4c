/* limits: every number that a peer or a file could push too far, in one place, with the reason for its value.
 * Nothing read from outside is used as a size, count or index before it was compared with one of these. */
#ifndef PROTO_LIMITS_H
#define PROTO_LIMITS_H

#define LIMIT_HEAD          (64u * 1024)         /* first frame of a message */
#define LIMIT_BODY          (4u * 1024 * 1024)   /* second frame: the largest block */
#define LIMIT_WIRE          (LIMIT_BODY + 128u * 1024) /* ZMQ_MAXMSGSIZE: body plus what CURVE adds */
#define LIMIT_WIRE_REQUEST  (128u * 1024)        /* the same where requests come in: no frame of one is longer than LIMIT_HEAD */
#define LIMIT_DEPTH         8u                   /* nesting of msgpack arrays: the deepest record has 5 */
#define LIMIT_OBJECTS       (1u << 20)           /* msgpack objects in one message */
#define LIMIT_PATH          4095u                /* bytes of a path; PATH_MAX of Linux without its NUL */
#define LIMIT_NAME          255u                 /* bytes of a component: NAME_MAX */
#define LIMIT_PATH_DEPTH    512u                 /* components of a path */
#define LIMIT_DEVICE_NAME   64u                  /* bytes of a device's name */
#define LIMIT_SNAPSHOT_NAME 64u                  /* bytes of a snapshot's name */
#define LIMIT_SNAPSHOTS     512u                 /* of one device: their vectors are held in memory */
#define LIMIT_NOTE          1024u                /* content of a note: proto/note.h cuts what is longer */
#define LIMIT_TEXT          1024u                /* bytes of a message or error text from outside */
#define LIMIT_CTX           4096u                /* streams in a context, or exceptions of one: 100 devices re-made 40 times */
#define LIMIT_ENTRY         (256u * 1024)        /* bytes of one encoded entry: LIMIT_CTX pairs and the longest path */
#define LIMIT_INLINE        1024u                /* content carried inside its entry */
#define LIMIT_SYMLINK       4095u                /* target of a symlink, always inside its entry: PATH_MAX without its NUL */
#define LIMIT_CS_COUNT      4096u                /* entries of a change set */
#define LIMIT_CS_BYTES      (1024u * 1024)       /* bytes of its entries */
#define LIMIT_CS_REPLY      (2u * 1024 * 1024)   /* body of one reply to GET_CS */
#define LIMIT_STREAMS       65536u               /* streams of a group: devices x incarnations */
#define LIMIT_MEMBERS       4096u                /* devices of a group */
#define LIMIT_CTL_BYTES     (256u * 1024)        /* one record of the control log */
#define LIMIT_CTL_ADMINS    (2u * 1024 * 1024)   /* all records together that no owner has signed: one who fills the log could never be revoked */
#define LIMIT_CTL_OPS       64u                  /* operations in it */
#define LIMIT_EPOCH_STEP    (1ull << 32)         /* from one epoch to the next: nobody can use up their numbers, so that no key could follow */
#define LIMIT_BLOCK         LIMIT_BODY           /* the chunker's largest block */
#define LIMIT_BLOCKS        (1u << 24)           /* blocks of a file: 64 TiB at the largest block */
#define LIMIT_TREE_LEAF     4096u                /* block references in one leaf of a block list */
#define LIMIT_GET_BLK       32u                  /* blocks asked for in one message */
#define LIMIT_FILE_SIZE     (1ull << 46)         /* 64 TiB */
#define LIMIT_SEQ           (1ull << 62)         /* a stream number: far from where adding one could wrap */
#define LIMIT_REQUIRED      8u                   /* required versions of a group that are held: the latest */
#define LIMIT_RECEIPTS      (32u * 1024 * 1024)  /* a file of receipts: each names all streams of the group */
#define LIMIT_POLICIES      64u                  /* policies of a group */
#define LIMIT_POLICY_BYTES  (64u * 1024)         /* of all of them, keys and values */
#define LIMIT_ADDRS         8u                   /* addresses kept for one peer */
#define LIMIT_CTL_REQUEST   (1024u * 1024)       /* a request of the command line */
#define LIMIT_CTL_REPLY     (64u * 1024 * 1024)  /* a reply to it */

#endif
