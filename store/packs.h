/* packs: where kept versions end up: files in FOLDER/.lanyard/packs/ that hold blocks, each once, compressed with zstd where that saves
 * anything. The index says where a block lies (store/index.h, pieces); a pack can also be read without it, and around damage, for every
 * record names itself:
 *
 *   pack     "lanyard pack 1\n" and zeros up to byte 64, then records; a run of records that was written together begins at the next
 *            multiple of 4096, so that nothing that was durable before is written to again
 *   record   "LYPK" | kind (u8) | coding (u8: 0 as it is, 1 zstd) | 0 (u16) | length (u32) | stored length (u32) | id (32)
 *            | the first 8 bytes of the BLAKE2b-256 of what is before | stored bytes                  (little endian)
 *   block    its bytes; its id is their hash
 *   content  size (u64) | number of blocks (u32) | block references (proto/block.h), none for one block; its id is the root. It is
 *            what an index that was lost is made anew from. Behind that may follow where it was first packed from:
 *   origin   1 (u8, version) | mode (u32) | mtime (i64, ns) | length (u16) | path | the first 8 bytes of the BLAKE2b-256 of all that
 *
 * A pack grows at its end and is never changed otherwise; a number is never used again. What is durable when pack_end has returned may be
 * named by the index; what a crash has left behind that is found by pack_scan and taken as it is, or is space that is lost until the pack
 * is written anew. The handle is immutable and may be used by several threads. */
#ifndef STORE_PACKS_H
#define STORE_PACKS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/block.h"
#include "proto/buf.h"

#define PACK_SIZE (64u << 20)                    /* a pack that has reached this is not added to */

enum pack_kind { PACK_BLOCK = 1, PACK_CONTENT };
struct pack_at { uint64_t pack, off; uint32_t len; };   /* len: of the whole record; 0 = nowhere */
struct pack_record { enum pack_kind kind; struct id id; struct pack_at at; };

struct packs;
/* Takes over the open directory, also when it fails. */
int  packs_open(int *dir, struct packs **out) MUST_CHECK;
void packs_close(struct packs **p);
/* A non-zero result ends the listing and is returned. */
int  packs_list(const struct packs *p, int (*each)(void *arg, uint64_t pack, uint64_t size), void *arg) MUST_CHECK;
int  packs_remove(const struct packs *p, uint64_t pack) MUST_CHECK;          /* absent is fine */

/* ---- writing: one writer to a pack at a time ---- */
struct pack_writer;
/* size: up to where the index knows the pack; 0 makes a new one. ERR_EXISTS there is one of that number; ERR_CHANGED it is longer or shorter
 * than that: leave it alone. */
int  pack_begin(const struct packs *p, uint64_t pack, uint64_t size, struct pack_writer **out) MUST_CHECK;
int  pack_put(struct pack_writer *w, enum pack_kind kind, const struct id *id, const void *data, uint32_t len, struct pack_at *at) MUST_CHECK;
uint64_t pack_length(const struct pack_writer *w);
/* Makes what was put durable and ends the writer; *size is the pack's length now. After a failure nothing was put. */
int  pack_end(struct pack_writer **w, uint64_t *size) MUST_CHECK;
void pack_abandon(struct pack_writer **w);                                   /* as if it had never begun; NULL is fine */

/* The body of a content record (pack_content.c). refs as in content_list: NULL for one block. from: NULL or len 0 when it is not known. */
struct pack_origin { const char *path; size_t len; uint32_t mode; int64_t mtime_ns; };
void pack_content_put(struct buf *out, uint64_t size, const uint8_t *refs, uint32_t nblocks, const struct pack_origin *from);
struct pack_content { uint64_t size; uint32_t nblocks; const uint8_t *refs; struct pack_origin origin; };
#define PACK_CONTENT_MAX ((size_t)LIMIT_BLOCKS * BLOCK_REF + LIMIT_PATH + 64)    /* bytes of a body */
/* Checks that it is what the root commits to. *out borrows from data; the path has passed path_check. ERR_CORRUPT. */
int  pack_content_get(const struct id *root, const void *data, size_t len, struct pack_content *out) MUST_CHECK;

/* ---- reading ---- */
/* The verified bytes of a record, in *out (cleared; max LIMIT_BLOCK is enough for blocks). ERR_CORRUPT when they are not what `id` names,
 * or there is no such record at that place. */
int  pack_read(const struct packs *p, const struct pack_at *at, enum pack_kind kind, const struct id *id, struct buf *out) MUST_CHECK;
/* Makes durable what is there of a pack: before the index names what pack_scan has found behind its end, for a crash may have left that. */
int  pack_flush(const struct packs *p, uint64_t pack) MUST_CHECK;
/* Reads every record of a pack from byte `from` on. code: 0 with its verified bytes, or ERR_CORRUPT for a record that is damaged; where not
 * even the head of a record can be read, rec is NULL and at says which bytes were passed over. Non-zero results of `each` end the scan. */
struct pack_sight { const struct pack_record *rec; struct pack_at at; const uint8_t *data; size_t len; int code; };
int  pack_scan(const struct packs *p, uint64_t pack, uint64_t from, int (*each)(void *arg, const struct pack_sight *s), void *arg) MUST_CHECK;

#endif
