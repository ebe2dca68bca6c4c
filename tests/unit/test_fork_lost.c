/* Streams with two histories, when the newest content of a path is nowhere. */
#include "tests/unit/t_forge.h"

/* A newer version, of which only its author had the content, replaces one that lies on our disk. */
static void replace(struct pen *p, const char *path, const struct id *root)
{
    struct entry ent = {.kind = KIND_FILE, .path = {(const uint8_t *)path, strlen(path)}, .mode = 0644, .size = 5, .mtime_ns = 1,
                        .v.hlc = hlc_make(p->w->wall, 99)};
    struct dot old = {.sid = p->sid, .seq = 1};
    ent.content = (struct content){.type = CONTENT_BLOCKS, .nblocks = 1, .root = *root};
    dots_add(&ent.v.ctx, &old);
    pen_entry(p, &ent);
    entry_release(&ent);
}

static void test_what_is_on_a_disk_is_signed_when_nobody_has_the_newest(void)
{
    for (int elsewhere = 0; elsewhere < 2; elsewhere++) {
        struct world *w = world_new();
        struct pen one = pen_new(w, 2, 9), two = pen_new(w, 2, 9);
        struct id lost = id_hash("lost", 4);
        pen_file(&one, "a", "older");
        pen_seal(&one);
        pen_file(&two, "a", "other");
        pen_seal(&two);
        EQ_I(hear(w, 0, 2, (struct pen *[]){&one}, 1), 1);
        install(w, 0);
        struct pen then = pen_new(w, 2, 9);
        then.known = one.known;
        then.tip = one.tip;
        replace(&then, "a", &lost);
        pen_seal(&then);
        EQ_I(hear(w, 0, 2, (struct pen *[]){&then}, 1), 1);
        pen_release(&then);
        if (elsewhere) {                   /* as somebody says who is to sign it, then */
            EQ_I(pull_entries(w, 0, 1), 2);
            install(w, 1);
            show_vector(w, 1, 0);
        }
        EQ_I(prove(w, 0, &one, &two), 1);
        EQ_U(tally(w, 0, "a").own, elsewhere ? 0 : 1);
        if (!elsewhere) {
            EQ_S(tally(w, 0, "a").least, "older");
            EQ_U(install(w, 0), 0);        /* it lies there as it did */
            EQ_S(shows(w, 0, "a"), "older");
            EQ_I(pull_entries(w, 0, 1), 1);
        }
        world_free(w);
        pen_release(&one);
        pen_release(&two);
    }
}

int main(void)
{
    must(keys_init());
    RUN(test_what_is_on_a_disk_is_signed_when_nobody_has_the_newest);
    return t_done();
}
