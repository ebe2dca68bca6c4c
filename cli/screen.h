/* screen: what goes on being shown: one picture in the place of the one before, or, where there is no terminal, a line whenever it changes. */
#ifndef CLI_SCREEN_H
#define CLI_SCREEN_H

#include <stdio.h>

#include "proto/buf.h"
#include "proto/limits.h"

struct screen {
    size_t drawn;             /* lines on the terminal that the next picture replaces */
    struct buf last;          /* the latest line */
};
#define SCREEN_INIT { .last = BUF_INIT(LIMIT_CTL_REPLY) }
void screen_release(struct screen *s);
void screen_draw(struct screen *s, FILE *f, const char *text);        /* f is a terminal; text: lines */
void screen_line(struct screen *s, FILE *f, const struct buf *line);  /* without its end; nothing when it is empty, or the same again */

#endif
