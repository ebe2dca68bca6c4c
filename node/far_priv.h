/* far, the inside: what is known of the other devices (struct far_device), and what its parts want of each other. far.c decides who is
 * online and who is to be linked; far_tell.c asks neighbours, takes what they tell, and tells them; far_turn.c, without a node, says what is
 * news for whom and who is asked next.
 *
 * News are numbered: whatever a node learns of a device gets the next number (struct far, news). With each neighbour it remembers up
 * to which of its own numbers it has named what it has (said), and up to which of theirs they have told (upto). So a question names what is new
 * here and the answer tells what is new there: when nothing is, nothing goes round but ages. Both begin at 0 with each link. */
#ifndef NODE_FAR_PRIV_H
#define NODE_FAR_PRIV_H

#include "node/far.h"

struct far_device {
    struct id dev;
    uint64_t heard;             /* when anybody heard of it at the latest, loop_now; 0: never */
    uint64_t changed;           /* the number of the last news of it: its vector says something else, or it is online again; 0: none */
    uint64_t said, upto;        /* as a neighbour */
    uint64_t asked, mute_until; /* the same; mute: it has left a question unanswered */
    uint64_t chose_us, wanted, lacks;
    bool hot, busy;             /* as a neighbour: it has something that is new here; a question is under way */
    bool early;                 /* the same: it has told of a device that is no member here yet */
    enum far_lack lack;         /* what of it did not come from neighbours, since `lacks` */
    bool chosen, told;          /* told: that it is online, to the user */
    void *vec; size_t len;      /* its last vector, the one that engine_vector_of has; and what it says */
    uint8_t meaning[8];
};
struct far {
    struct far_device *d; size_t n;     /* sorted by dev */
    struct loop_timer tick;
    uint64_t news;
    uint64_t choose_due, gather, stuck_due, look_due, ages_due;
    uint64_t choose_from;       /* nobody is chosen before: most are only heard of when the first have answered */
    uint64_t draw, draw_until;  /* for ring_choose */
    bool large;                 /* the group, at the last tick */
};

struct far_device *far_find(const struct node *n, const struct id *dev);    /* NULL: nothing is known of it */
struct far_device *far_get(struct node *n, const struct id *dev);           /* a new one moves others: no pointer is kept */
bool far_is_member(const struct node *n, const struct id *dev);             /* another one, not revoked */
bool far_heard_lately(const struct far_device *d);
void far_look_who_is_online(struct node *n);
void far_wake(struct node *n, uint64_t in_ms);      /* the tick, at the latest then */

bool far_ask_next(struct node *n);                  /* whose turn it is, if it is anybody's; true: others have to wait */

/* ---- far_turn.c; times by loop_now ---- */

#define FAR_MUTE_MS 60000u              /* who left a question unanswered: its news do not count for so long */
#define FAR_OVERDUE_MS 60000u           /* whoever was not asked for so long is, news or not */

/* Somebody heard of it then; that it is online may be news. */
void far_hear(struct far *f, struct far_device *d, uint64_t when);
/* A vector that is taken, and was verified. Whether it says anything new. */
bool far_keep(struct far *f, struct far_device *d, const void *blob, size_t len);
/* Of vectors that are news, in any order: up to the number of which news they fit into `most` bytes, the earliest first, and one at least;
 * `news` when all do. */
struct far_piece { uint64_t changed; size_t len; };
uint64_t far_fit(struct far_piece *p, size_t n, size_t most, uint64_t news);
/* A question that was sent at `sent` was answered, by an age: when that was at the latest. What goes round and round becomes no younger. */
uint64_t far_heard_by_age(uint64_t sent, uint64_t age_ms);
bool far_names(const struct far_device *d, const struct far_device *to);    /* a question to that one names the vector of this one */
/* Who is to be asked now: who has or needs news, or was not asked for too long; when ages are due and there is none such, anybody. Of
 * them who was not asked for the longest time. NULL: nobody is, or enough questions are under way. *more: others have to wait. */
#define FAR_ASKS_MAX 3u                 /* under way; but who takes long to answer holds up nobody else: */
#define FAR_SLOW_MS 500u                /* after that a question does not count among them */
struct far_device *far_next(struct far *f, bool (*can_be_asked)(const void *arg, const struct id *dev), const void *arg, bool *more);
/* Whether it may be asked out of its turn: whoever wants to be asked all the time is not. */
#define FAR_HURRY_MS 50u
bool far_may_hurry(const struct far_device *d);
/* Who is online is looked at now; `was`: whether the group was large at the last tick. When it is no more nobody looks again, so once at once:
 * who was only heard of is not there any more, for the engine and its locks either. */
bool far_look_is_due(const struct far *f, bool was);
/* Of those that for so long have had something at least so rare, and are not wanted now: the one that was wanted the longest time ago, so that
 * none that only says so keeps others from being dialled. NULL: there is none. */
struct far_device *far_to_dial(struct far *f, enum far_lack lack, uint64_t for_ms);
/* It has answered a question that was put when f->news was `news`, and said upto. before: f->news when its answer came. early: it told of
 * somebody who is no member here yet; so it is to tell all that again when there may be other members, and then it is asked. */
void far_answered(struct far *f, struct far_device *d, uint64_t news, uint64_t before, uint64_t upto, bool early);
void far_ask_the_early(struct far *f);

#endif
