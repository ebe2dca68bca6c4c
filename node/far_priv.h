/* far, the inside: what is known of the other devices (struct far_device), and what its two halves want of each other. far.c decides who is
 * online and who is to be linked; far_tell.c asks neighbours, takes what they tell, and tells them. */
#ifndef NODE_FAR_PRIV_H
#define NODE_FAR_PRIV_H

#include "node/far.h"

struct far_device {
    struct id dev;
    uint64_t heard;             /* when anybody heard of it at the latest, loop_now; 0: never */
    uint64_t asked, mute_until; /* as a neighbour; mute: it has left a question unanswered */
    uint64_t chose_us, wanted, lacks;
    bool chosen, hot, told;     /* hot: it has news; told: that it is online, to the user */
    void *vec; size_t len;      /* its last vector, the one that engine_vector_of has; and what it says */
    uint8_t meaning[8];
};
struct far {
    struct far_device *d; size_t n;
    struct loop_timer tick;
    uint64_t choose_due, gather, stuck_due;
    uint64_t choose_from;       /* nobody is chosen before: most are only heard of when the first have answered */
    uint64_t draw, draw_until;  /* for ring_choose */
    bool busy, large;           /* busy: a question is under way; large: the group, at the last tick */
};

struct far_device *far_find(const struct node *n, const struct id *dev);    /* NULL: nothing is known of it */
struct far_device *far_get(struct node *n, const struct id *dev);
bool far_is_member(const struct node *n, const struct id *dev);             /* another one, not revoked */
bool far_heard_lately(const struct far_device *d);
void far_look_who_is_online(struct node *n);
void far_wake(struct node *n, uint64_t in_ms);      /* the tick, at the latest then */

void far_ask_next(struct node *n);                  /* the neighbour whose turn it is */
bool far_news_waits(const struct far *f);           /* some neighbour has news and has not been asked */

#endif
