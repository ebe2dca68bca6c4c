#include "cli/screen.h"

#include <string.h>
#include <sys/ioctl.h>

void screen_release(struct screen *s)
{
    buf_release(&s->last);
}

static size_t height(int fd)
{
    struct winsize size;
    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_row > 1 ? size.ws_row - 1u : 23;
}

/* Lines are cut at the screen's edge (autowrap is off meanwhile), so that each takes one row. */
void screen_draw(struct screen *s, FILE *f, const char *text)
{
    size_t most = height(fileno(f)), lines = 0;
    fputs("\033[?7l", f);
    if (s->drawn)
        fprintf(f, "\033[%zuA", s->drawn);
    fputs("\r\033[J", f);
    for (const char *end; *text && lines < most; text = end, lines++) {
        end = text + strcspn(text, "\n");
        end += *end == '\n';
        fwrite(text, 1, (size_t)(end - text), f);
    }
    fputs("\033[?7h", f);
    s->drawn = lines;
}

void screen_line(struct screen *s, FILE *f, const struct buf *line)
{
    if (line->len == 0 || (line->len == s->last.len && memcmp(line->data, s->last.data, line->len) == 0))
        return;
    fprintf(f, "%.*s\n", (int)line->len, (const char *)line->data);
    buf_clear(&s->last);
    buf_add(&s->last, line->data, line->len);
}
