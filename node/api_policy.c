/* What admins lay down for all devices. */
#include <string.h>

#include "node/api_priv.h"
#include "node/node_priv.h"
#include "proto/policy.h"
#include "store/ignore.h"

/* ---- what is shown ---- */

static bool is_set(struct node *n, const struct policy_key *k)
{
    const struct bytes key = {(const uint8_t *)k->key, strlen(k->key)};
    struct bytes value;
    return group_policy(node_group(n), &key, &value);
}

static int put_known(struct buf *b, struct node *n, const struct policy_key *k)
{
    mp_put_map(b, 6);
    put_text(b, "key", k->key);
    mp_put_str(b, "value");
    policy_value(node_group(n), k, b);
    mp_put_str(b, "default");
    int r = policy_parse(k, k->def, b);
    put_bool(b, "set", is_set(n, k));
    put_text(b, "type", policy_type_name(k->type));
    put_text(b, "help", k->help);
    return r;
}

static bool is_known(const struct bytes *key)
{
    for (const struct policy_key *k = policy_keys; k->key; k++)
        if (strlen(k->key) == key->len && memcmp(k->key, key->p, key->len) == 0)
            return true;
    return false;
}

/* One that a later version knows. */
static void put_unknown(struct buf *b, const struct bytes *key, const struct bytes *value)
{
    mp_put_map(b, 6);
    mp_put_str(b, "key");
    mp_put_strn(b, (const char *)key->p, key->len);
    mp_put_str(b, "value");
    buf_add(b, value->p, value->len);
    mp_put_str(b, "default");
    mp_put_nil(b);
    put_bool(b, "set", true);
    put_text(b, "type", NULL);
    put_text(b, "help", "not known to this version of Lanyard");
}

/* Twice: to count, and to write. */
static uint32_t each_unknown(struct node *n, struct buf *b)
{
    uint32_t all, found = 0;
    struct mp m = group_policies(node_group(n), &all);
    for (uint32_t i = 0; i < all; i++) {
        struct bytes key = mp_str(&m, SIZE_MAX), value = mp_skip(&m);
        if (is_known(&key))
            continue;
        found++;
        if (b)
            put_unknown(b, &key, &value);
    }
    return found;
}

static int list(struct session *s)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    size_t known = 0;
    int r = 0;
    while (policy_keys[known].key)
        known++;
    mp_put_array(&b, known + each_unknown(s->n, NULL));
    for (size_t i = 0; r == 0 && i < known; i++)
        r = put_known(&b, s->n, &policy_keys[i]);
    each_unknown(s->n, &b);
    if (r == 0)
        session_reply(s, false, &b);
    return r;
}

static int show(struct session *s, const char *key)
{
    AUTO(buf_release) struct buf b = BUF_INIT(LIMIT_CTL_REPLY);
    const struct bytes name = {(const uint8_t *)key, strlen(key)};
    const struct policy_key *k = policy_find(key);
    struct bytes value;
    int r = 0;
    if (k)
        r = put_known(&b, s->n, k);
    else if (group_policy(node_group(s->n), &name, &value))
        put_unknown(&b, &name, &value);
    else
        r = err_set(ERR_NOTFOUND, "there is no policy %s: `lanyard policy list` shows all", key);
    if (r == 0)
        session_reply(s, false, &b);
    return r;
}

/* ---- what is changed ---- */

/* Rules that a device could not read would hold nowhere. */
static int check_rules(const struct policy_key *k, const char *text)
{
    if (strcmp(k->key, "ignore") != 0)
        return 0;
    struct ignore *ig = ignore_new();
    int r = ignore_load(ig, text, strlen(text), k->key);
    ignore_free(&ig);
    return r < 0 ? err_set(ERR_USAGE, "%s", err_text()) : 0;
}

static int issue(struct node *n, const char *key, const struct buf *value)
{
    AUTO(buf_release) struct buf map = BUF_INIT(LIMIT_POLICY_BYTES);
    mp_put_map(&map, 1);
    mp_put_str(&map, key);
    buf_add(&map, value->data, value->len);
    struct ctl_op op = {.type = OP_POLICY, .policy = {map.data, map.len}};
    return group_op_now(node_group(n), &op) == OP_IS_SO ? 0 : control_issue(n, &op, 1);
}

static int set(struct session *s, const char *key, const char *text)
{
    AUTO(buf_release) struct buf value = BUF_INIT(LIMIT_POLICY_BYTES);
    const struct policy_key *k = policy_find(key);
    if (!text)
        return err_set(ERR_USAGE, "policy: use set KEY VALUE");
    int r = need_admin(s->n);
    if (r == 0 && !k)
        r = err_set(ERR_USAGE, "there is no policy %s: `lanyard policy list` shows all", key);
    if (r == 0)
        r = check_rules(k, text);
    if (r == 0)
        r = policy_parse(k, text, &value);
    if (r == 0)
        r = issue(s->n, key, &value);
    return r < 0 ? r : show(s, key);
}

static int unset(struct session *s, const char *key)
{
    AUTO(buf_release) struct buf nil = BUF_INIT(16);
    const struct bytes name = {(const uint8_t *)key, strlen(key)};
    struct bytes value;
    int r = need_admin(s->n);
    if (r == 0 && !policy_find(key) && !group_policy(node_group(s->n), &name, &value))
        r = err_set(ERR_USAGE, "there is no policy %s: `lanyard policy list` shows all", key);
    mp_put_nil(&nil);
    if (r == 0)
        r = issue(s->n, key, &nil);
    if (r == 0)
        session_reply(s, false, NULL);
    return r;
}

int run_policy(struct session *s, const struct bytes *args)
{
    AUTOFREE char *op = NULL, *key = NULL, *text = NULL;
    int r = arg_text(args, "op", &op);
    if (r == 0)
        r = arg_text(args, "key", &key);
    if (r == 0)
        r = arg_text(args, "value", &text);
    if (r == 0)
        r = need_member(s->n);
    if (r < 0)
        return r;
    if (!op || strcmp(op, "list") == 0)
        return list(s);
    if (key && strcmp(op, "get") == 0)
        return show(s, key);
    if (key && strcmp(op, "set") == 0)
        return set(s, key, text);
    return key && strcmp(op, "unset") == 0 ? unset(s, key) : err_set(ERR_USAGE, "policy: use list, get KEY, set KEY VALUE or unset KEY");
}
