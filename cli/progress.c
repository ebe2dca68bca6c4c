#include "cli/progress.h"

#include "cli/out.h"
#include "cli/when.h"

#define SMOOTH 0.3            /* weight of the latest look in the rate */
#define FOREVER_MS 1e11       /* three years: a rate that says so says nothing */

void progress_look(struct progress *p, int64_t now_ms, uint64_t left)
{
    if (p->seen && left > p->left)
        p->total += left - p->left;
    else if (!p->seen)
        p->total = left;
    else if (now_ms > p->at_ms) {
        double now = (double)(p->left - left) * 1000 / (double)(now_ms - p->at_ms);
        p->rate = p->rate > 0 ? p->rate + SMOOTH * (now - p->rate) : now;
    }
    if (left == 0)
        *p = (struct progress){ 0 };
    p->left = left;
    p->at_ms = now_ms;
    p->seen = true;
}

int64_t progress_eta(const struct progress *p)
{
    double ms = p->rate > 0 ? (double)p->left * 1000 / p->rate : FOREVER_MS;
    return ms < FOREVER_MS ? (int64_t)ms : -1;
}

void progress_put(const struct progress *p, size_t width, struct buf *to)
{
    char span[WHEN_TEXT];
    if (p->left == 0 || p->total == 0)
        return;
    double part = (double)(p->total - p->left) / (double)p->total;
    for (size_t i = 0; i < width; i++) {
        buf_add_str(to, i == 0 ? "[" : "");
        buf_add_str(to, i < (size_t)(part * (double)width) ? "#" : ".");
        buf_add_str(to, i + 1 == width ? "] " : "");
    }
    buf_addf(to, "%d %%, ", (int)(part * 100));
    out_size(to, p->left);
    buf_add_str(to, " left");
    if (p->rate >= 1) {
        buf_add_str(to, ", ");
        out_size(to, (uint64_t)p->rate);
        buf_add_str(to, "/s");
    }
    if (progress_eta(p) >= 0)
        buf_addf(to, ", %s", when_span(progress_eta(p), span));
}
