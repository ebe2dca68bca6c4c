#include "node/note.h"

#include <string.h>

#include "node/log.h"
#include "node/node_priv.h"

static int put(struct node *n, const struct note *note)
{
    int r = engine_begin(n->engine);
    if (r < 0)
        return r;
    r = engine_note(n->engine, note, loop_wall());
    if (r == 0)
        return engine_commit(n->engine, loop_wall());
    engine_rollback(n->engine);
    return r;
}

void note_put(struct node *n, const struct note *note)
{
    if (put(n, note) == 0)
        node_committed(n);
    else
        log_error("not noted what=%.*s why=\"%s\"", (int)note->what.len, (const char *)note->what.p, err_text());
}

void note_required(struct node *n, const char *what, const char *reason)
{
    const struct requirement *q = group_required_of(control_group(n->home->control), &n->home->keys->dev);
    const char *message = q ? q->what->message : "";
    note_put(n, &(struct note){.what = NOTE_STR(what), .name = NOTE_STR(message), .text = NOTE_STR(reason ? reason : "")});
}
