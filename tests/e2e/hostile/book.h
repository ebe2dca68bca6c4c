/* book: a stream of the liar's own, with entries that no honest encoder would write. */
#ifndef HOSTILE_BOOK_H
#define HOSTILE_BOOK_H

#include "tests/e2e/hostile/talk.h"

/* What an entry says; content: raw msgpack, empty = nil. */
struct lie {
    enum kind kind;
    const void *path; size_t pathlen;
    const struct dots *ctx, *except;     /* NULL = empty */
    uint64_t hlc, size;
    uint32_t mode;
    int64_t mtime_ns;
    struct bytes content;
};
/* What is wrong with a change set as a whole. */
enum twist { HONEST, BAD_SIGNATURE, FLIPPED_BYTE, WRONG_ROOT, AHEAD, COUNT_LIES };

struct book {
    const struct liar *l;
    uint8_t inc[8];
    struct sid sid;
    uint64_t known;
    struct id tip;
    struct buf sets; uint32_t nsets;     /* the change sets so far, one behind the other */
    struct buf items; struct id leaf[LIMIT_CS_COUNT]; uint32_t nitems;   /* of the next one */
    struct { struct id id; uint8_t *data; uint32_t len; } block[64]; size_t nblock;
    struct { struct id root; uint8_t *refs; uint32_t n; } list[16]; size_t nlist;
};
void book_open(struct book *b, const struct liar *l, const uint8_t inc[8]);   /* inc NULL: a new stream */
void book_add(struct book *b, const struct lie *e);
void book_seal(struct book *b, enum twist t);
/* A file of inline content, of blocks; a symlink. The path is text. */
void book_text(struct book *b, const char *path, const char *content);
void book_link(struct book *b, const char *path, const char *target);
/* n blocks of `len` bytes each, pseudo-random; says size and nblocks as told (0: truly). Returns the root. */
struct id book_blocks(struct book *b, const char *path, uint32_t n, uint32_t len, uint64_t say_size, uint32_t say_n);
/* A file with a content that is described so, whosever it is. */
void book_content(struct book *b, const char *path, const struct known_file *f);
/* A change set with one file, the first of the stream `inc`. */
void book_first_of(const struct liar *l, const uint8_t inc[8], struct buf *out);
uint64_t lie_hlc(void);

#endif
