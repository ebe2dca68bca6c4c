/* What is known of a device, kept in the index for the next start (declared in node_priv.h). */
#include <stdio.h>

#include "node/log.h"
#include "node/node_priv.h"

enum { KEY_SIZE = 16 + ID_HEX };

static const char *key_of(const char *word, const struct id *dev, char key[static KEY_SIZE])
{
    char hex[ID_HEX];
    snprintf(key, KEY_SIZE, "%s.%s", word, id_hex(dev, hex));
    return key;
}

void greet_remember(struct node *n, const char *word, const struct id *dev, const void *v, size_t len)
{
    char key[KEY_SIZE];
    int r = engine_begin(n->engine);
    if (r == 0 && (r = index_kv_put(n->index, key_of(word, dev, key), v, len)) == 0)
        r = engine_commit(n->engine, loop_wall());
    else if (r < 0 && index_in_tx(n->index))
        engine_rollback(n->engine);
    if (r < 0)
        log_seldom(LOG_WARN, "not remembered what=%s why=\"%s\"", word, err_text());
}

int greet_recall(struct node *n, const char *word, const struct id *dev, struct buf *v)
{
    char key[KEY_SIZE];
    return index_kv_get(n->index, key_of(word, dev, key), v);
}
