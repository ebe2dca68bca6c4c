/* A member, or a stranger, that does not keep to the protocol; for test_hostile.py.
 *     liar HOME SCENARIO ADDRESS... [ARGUMENT...]
 * HOME is that of a device whose node is not running. Scenarios in which others dial the liar print `ready ADDRESS`, go on until
 * standard input ends, and print how often they were asked for what: `hellos N cs N ...`. Exit code 1 and a line on standard error
 * when a node did not behave as it must. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/hlc.h"
#include "tests/e2e/hostile/attack.h"
#include "tests/e2e/hostile/stand.h"

struct scene { struct liar l; struct stand s; struct book b, b2; struct learned k; const char **address; int naddress; const char *arg; };

/* ---- books ---- */

/* arg: another name for the file of several blocks */
static void good_book(struct scene *c)
{
    book_text(&c->b, "from-liar", "this is well");
    book_blocks(&c->b, *c->arg ? c->arg : "from-liar-blocks", 3, 50000, 0, 0);
    book_seal(&c->b, HONEST);
}

static void twisted_set(struct scene *c, enum twist t)
{
    book_text(&c->b, "twisted", "must not be there");
    book_seal(&c->b, t);
}

static void bad_signature(struct scene *c) { twisted_set(c, BAD_SIGNATURE); }
static void flipped_byte(struct scene *c) { twisted_set(c, FLIPPED_BYTE); }
static void wrong_root(struct scene *c) { twisted_set(c, WRONG_ROOT); }
static void count_lies(struct scene *c) { twisted_set(c, COUNT_LIES); }
static void clock_ahead(struct scene *c) { twisted_set(c, AHEAD); }

/* arg: the path in hexadecimal */
static void entry_path(struct scene *c)
{
    uint8_t path[8192];
    size_t n = strlen(c->arg) / 2;
    must(n <= sizeof path ? hex_decode(path, n, c->arg) : -1);
    book_text(&c->b, "before", "x");
    book_add(&c->b, &(struct lie){ .kind = KIND_FILE, .path = path, .pathlen = n, .mode = 0644, .content = { (const uint8_t *)"\x92\x00\xc4\x00", 4 } });
    book_seal(&c->b, HONEST);
}

/* arg: a directory outside */
static void through_symlink(struct scene *c)
{
    book_link(&c->b, "s", c->arg);
    book_link(&c->b, "d", c->arg);
    book_seal(&c->b, HONEST);
    book_text(&c->b, "s/inline", "outside");
    book_blocks(&c->b, "s/blocks", 3, 50000, 0, 0);
    book_blocks(&c->b, "s/one", 1, 50000, 0, 0);
    book_link(&c->b, "s/link", "x");
    book_add(&c->b, &(struct lie){ .kind = KIND_DIR, .path = "s/dir", .pathlen = 5, .mode = 0755 });
    book_add(&c->b, &(struct lie){ .kind = KIND_TOMBSTONE, .path = "s/present", .pathlen = 9 });
    book_text(&c->b, "s/present/deep", "outside");
    book_seal(&c->b, HONEST);
}

static void sizes_lie(struct scene *c)
{
    book_blocks(&c->b, "one-longer", 1, 50000, 60000, 0);
    book_blocks(&c->b, "one-shorter", 1, 50000, 40000, 0);
    book_blocks(&c->b, "three-longer", 3, 50000, 150001, 0);
    book_blocks(&c->b, "three-shorter", 3, 50000, 149999, 0);
    book_blocks(&c->b, "more-blocks", 3, 50000, 0, 4);
    book_blocks(&c->b, "fewer-blocks", 3, 50000, 0, 2);
    book_blocks(&c->b, "huge", 3, 50000, 1ull << 45, 0xffffff);
    book_seal(&c->b, HONEST);
}

static void inline_lies(struct scene *c)
{
    book_add(&c->b, &(struct lie){ .kind = KIND_FILE, .path = "inline", .pathlen = 6, .mode = 0644, .size = 5,
                                   .content = { (const uint8_t *)"\x92\x00\xc4\x02hi", 6 } });
    book_seal(&c->b, HONEST);
}

static void twisted_list(struct scene *c)
{
    book_blocks(&c->b, "twisted-list", 3, 50000, 0, 0);
    book_seal(&c->b, HONEST);
    c->s.blocks = SERVE_TWISTED;
}

/* Contents that the nodes have, described wrongly: whoever serves them says something else than the entry, and is right. */
static void borrowed_roots(struct scene *c)
{
    const struct known_file *f = &c->k.file, *one = &c->k.one;
    if (f->nblocks < 3 || !one->size)
        die("there is nothing to borrow");
    book_content(&c->b, "borrowed-more", &(struct known_file){ f->root, f->nblocks + 1, f->size });
    book_content(&c->b, "borrowed-fewer", &(struct known_file){ f->root, f->nblocks - 1, f->size });
    book_content(&c->b, "borrowed-longer", &(struct known_file){ f->root, f->nblocks, f->size + 1 });
    book_content(&c->b, "borrowed-shorter", &(struct known_file){ f->root, f->nblocks, f->size - 1 });
    book_content(&c->b, "borrowed-many", &(struct known_file){ f->root, 100000, f->size });
    for (uint64_t i = 1; i <= 3; i++) {
        const char *names[] = { "borrowed-one-1", "borrowed-one-2", "borrowed-one-3" };
        book_content(&c->b, names[i - 1], &(struct known_file){ one->root, 1, one->size + i });
    }
    book_seal(&c->b, HONEST);
}

/* As many files as take a list of a million blocks each. */
static void huge_lists(struct scene *c)
{
    for (int i = 0; i < 40; i++) {
        char path[32];
        snprintf(path, sizeof path, "huge-list-%d", i);
        book_content(&c->b, path, &(struct known_file){ id_hash(path, strlen(path)), 1000000, 1ull << 40 });
    }
    book_seal(&c->b, HONEST);
    c->s.noise_tree = true;
}

/* arg: a path. The entry pretends to have seen everything that all streams will ever say, but not what they say next. */
static void covers_future(struct scene *c)
{
    struct dots ctx = { 0 }, except = { 0 };
    for (size_t i = 0; i < c->k.nstream; i++) {
        ctx_raise(&ctx, &c->k.stream[i].sid, LIMIT_SEQ);
        for (uint64_t k = 1; k < 50; k++)
            dots_add(&except, &(struct dot){ c->k.stream[i].sid, c->k.stream[i].known + k });
    }
    book_add(&c->b, &(struct lie){ .kind = KIND_FILE, .path = c->arg, .pathlen = strlen(c->arg), .mode = 0644, .size = 2, .ctx = &ctx, .except = &except,
                                   .content = { (const uint8_t *)"\x92\x00\xc4\x02hi", 6 } });
    book_seal(&c->b, HONEST);
}

/* arg: a path. As many pairs, and exceptions, as an entry may have. */
static void full_context(struct scene *c)
{
    struct dots ctx = { 0 }, except = { 0 };
    for (uint32_t i = 0; i < LIMIT_CTX; i++) {
        struct sid sid = { { (uint8_t)(i >> 8), (uint8_t)i, 1 } };
        ctx_raise(&ctx, &sid, LIMIT_SEQ - 1);
        dots_add(&except, &(struct dot){ sid, 1 });
    }
    book_add(&c->b, &(struct lie){ .kind = KIND_FILE, .path = c->arg, .pathlen = strlen(c->arg), .mode = 0644, .size = 2, .ctx = &ctx,
                                   .except = &except, .content = { (const uint8_t *)"\x92\x00\xc4\x02hi", 6 } });
    book_seal(&c->b, HONEST);
}

static void two_histories(struct scene *c)
{
    book_open(&c->b2, &c->l, c->b.inc);
    book_text(&c->b, "history", "one");
    book_seal(&c->b, HONEST);
    book_text(&c->b2, "history", "two");
    book_seal(&c->b2, HONEST);
    c->s.second = &c->b2;
}

/* arg: how many versions of one path, none of which supersedes another; at most 4096 */
static void one_path(struct scene *c)
{
    for (unsigned long i = strtoul(c->arg, NULL, 10); i > 0; i--)
        book_text(&c->b, "one-path", "version");
    book_seal(&c->b, HONEST);
}

/* ---- behaviour ---- */

static int by_sid(const void *a, const void *b) { return sid_cmp(&((const struct vec_stream *)a)->sid, &((const struct vec_stream *)b)->sid); }

/* arg: how many streams of one file each */
static void real_streams(struct scene *c)
{
    c->s.nclaim = strtoul(c->arg, NULL, 10);
    c->s.claim = xcalloc(c->s.nclaim, sizeof *c->s.claim);
    c->s.generate = true;
    for (size_t i = 0; i < c->s.nclaim; i++) {
        struct vec_stream *v = &c->s.claim[i];
        randombytes_buf(v->tip8, sizeof v->tip8);
        v->sid = sid_make(&c->l.group->id, &c->l.keys->dev, v->tip8);
        v->known = v->content = 1;
    }
    qsort(c->s.claim, c->s.nclaim, sizeof *c->s.claim, by_sid);
}

/* Everything of everybody but the first node asked, and much more. */
static void claim_all(struct scene *c, uint64_t more)
{
    for (size_t i = 0; i < c->k.nstream; i++)
        if (!id_eq(&c->k.stream[i].dev, &c->k.peer) && !id_eq(&c->k.stream[i].dev, &c->l.keys->dev))
            stand_claim(&c->s, &c->k.stream[i].sid, more == LIMIT_SEQ ? LIMIT_SEQ : c->k.stream[i].known + more);
}

/* arg: a file that will hold the address of a node that has what is asked for: its lists are passed on, its blocks are not */
static void silent_blocks(struct scene *c)
{
    claim_all(c, 1000);
    c->s.blocks = SERVE_SILENT;
    c->s.honest_at = c->arg;
}

static void silent_lists(struct scene *c) { claim_all(c, 1000); c->s.silent_tree = true; }
static void silent_sets(struct scene *c) { c->s.silent_cs = true; claim_all(c, LIMIT_SEQ); }
static void empty_sets(struct scene *c) { claim_all(c, LIMIT_SEQ); c->b.known = 0; }
static void false_control(struct scene *c) { c->s.false_ctl = true; }
static void silent_control(struct scene *c) { c->s.silent_ctl = true; c->s.say_ctl_n = LIMIT_SEQ; }

/* arg: a file that will hold the address of the node that has the right blocks */
static void wrong_blocks(struct scene *c)
{
    claim_all(c, 1000);
    c->s.blocks = SERVE_TWISTED;
    c->s.honest_at = c->arg;
}

static void hello_as_other(struct scene *c)
{
    for (size_t i = 0; i < c->l.group->nmember; i++)
        if (!id_eq(&c->l.group->member[i].card.dev, &c->l.keys->dev) && !id_eq(&c->l.group->member[i].card.dev, &c->k.peer))
            c->s.hello_as = c->l.group->member[i].card.dev;
}

static void many_streams(struct scene *c)
{
    c->s.claim = xcalloc(LIMIT_STREAMS, sizeof *c->s.claim);
    c->s.nclaim = LIMIT_STREAMS - 1;
    for (size_t i = 0; i < c->s.nclaim; i++) {
        randombytes_buf(&c->s.claim[i].sid, SID_LEN);
        c->s.claim[i].known = c->s.claim[i].content = LIMIT_SEQ;
    }
}

static void flood_vectors(struct scene *c) { many_streams(c); c->s.flood_vectors = true; }
static void flood_replies(struct scene *c) { good_book(c); c->s.flood_replies = true; }
static void malformed(struct scene *c) { good_book(c); c->s.malformed = true; }

/* arg: a file that holds what to show as vector */
static void replay(struct scene *c)
{
    uint8_t data[65536];
    FILE *f = fopen(c->arg, "rb");
    size_t n = f ? fread(data, 1, sizeof data, f) : 0;
    if (!n)
        die("%s: cannot be read", c->arg);
    fclose(f);
    buf_add(&c->s.replay, data, n);
}

/* Everything that the node knows of its one stream, with all entries said to be dead. */
static void hidden(struct scene *c)
{
    struct known_stream *k = &c->k.stream[0];
    struct msg m = { .type = MSG_GET_CS, .get_cs = { .n = 1, .range = { { k->sid, 1, k->known } }, .credit = LIMIT_CS_REPLY } };
    void *s = talk_up(&c->l, c->address[0], 0);
    struct vec_stream claim = { .sid = k->sid, .known = k->known, .content = k->known };
    struct reply r;
    struct mp mp;
    if (c->k.nstream != 1 || !talk_ask(s, &m, &r, 10000) || r.m.type != MSG_CS)
        die("not one stream");
    must(cs_body_open(zmq_msg_data(&r.body), zmq_msg_size(&r.body), &mp, &c->b.nsets));
    for (uint32_t i = 0; i < c->b.nsets; i++) {
        struct cs cs;
        struct header h;
        must(cs_next(&mp, &cs));
        must(cs_verify(&cs, &h));
        cs_put_head(&c->b.sets, &cs.hdr, cs.sig, 1);
        cs_put_pruned(&c->b.sets, 0, h.count, &h.root);
        memcpy(claim.tip8, h.hash.b, sizeof claim.tip8);
    }
    reply_close(&r);
    c->b.sid = k->sid;
    stand_claim(&c->s, &k->sid, k->known);
    c->s.claim[0] = claim;
}

/* A vector in another's name, with our signature. */
static void forged_vector(struct scene *c)
{
    AUTO(buf_release) struct buf blob = BUF_INIT(LIMIT_BODY);
    struct vec v = { .group = c->l.group->id, .dev = c->l.keys->dev, .ctr = LIMIT_SEQ, .ctl_hash = c->l.group->ctl_hash };
    must(vec_encode(&blob, &v, c->l.keys));
    struct bytes rec;
    const uint8_t *sig;
    must(signed_split(blob.data, blob.len, &rec, &sig));
    hello_as_other(c);
    uint8_t *dev = memmem(blob.data, blob.len, c->l.keys->dev.b, ID_LEN);
    memcpy(dev, c->s.hello_as.b, ID_LEN);
    c->s.hello_as = ID_NONE;
    buf_add(&c->s.replay, blob.data, blob.len);
}

static const struct { const char *name; void (*prepare)(struct scene *); } STANDS[] = {
    { "good", good_book }, { "bad-signature", bad_signature }, { "flipped-byte", flipped_byte }, { "wrong-root", wrong_root },
    { "count-lies", count_lies }, { "clock-ahead", clock_ahead }, { "path", entry_path }, { "through-symlink", through_symlink },
    { "sizes-lie", sizes_lie }, { "inline-lies", inline_lies }, { "twisted-list", twisted_list }, { "covers-future", covers_future },
    { "full-context", full_context }, { "two-histories", two_histories }, { "one-path", one_path }, { "real-streams", real_streams }, { "silent-blocks", silent_blocks },
    { "silent-lists", silent_lists }, { "silent-sets", silent_sets }, { "borrowed-roots", borrowed_roots }, { "huge-lists", huge_lists },
    { "empty-sets", empty_sets }, { "silent-control", silent_control }, { "false-control", false_control }, { "wrong-blocks", wrong_blocks },
    { "hello-as-other", hello_as_other }, { "many-streams", many_streams }, { "flood-vectors", flood_vectors },
    { "flood-replies", flood_replies }, { "malformed", malformed }, { "replay", replay }, { "forged-vector", forged_vector }, { "hidden", hidden },
};

static bool stand(struct scene *c, const char *name)
{
    for (size_t i = 0; i < sizeof STANDS / sizeof *STANDS; i++) {
        if (strcmp(STANDS[i].name, name) != 0)
            continue;
        stand_open(&c->s, &c->l);
        book_open(&c->b, &c->l, NULL);
        c->s.book = &c->b;
        void *s = talk_up(&c->l, c->address[0], 0);
        learn(&c->l, s, c->address[0], &c->k);
        zmq_close(s);
        STANDS[i].prepare(c);
        for (int k = 0; k < c->naddress; k++)
            stand_invite(&c->s, c->address[k]);
        stand_run(&c->s);
        return true;
    }
    return false;
}

/* ---- as a client ---- */

/* The greeting that the second node sends us, shown to the first. */
static void hello_replayed(struct scene *c)
{
    stand_open(&c->s, &c->l);
    stand_invite(&c->s, c->address[1]);
    if (!stand_wait_hello(&c->s, 15000))
        die("nobody greeted");
    void *s = talk_group(&c->l, c->address[0]);
    talk_raw(s, c->s.heard.data, c->s.heard.len, NULL, 0);
    struct reply r;
    if (!talk_ask(s, &(struct msg){ .type = MSG_PING }, &r, 10000))
        die("no answer behind a replayed greeting");
    reply_close(&r);
    if (!talk_hello(&c->l, s, &c->l.keys->dev, 0, &r) || r.m.type != MSG_HELLO_OK)
        die("no greeting behind a replayed one");
}

/* arg: the file that is to hold the vector */
static void save_vector(struct scene *c)
{
    void *s = talk_up(&c->l, c->address[0], 0);
    struct reply r;
    FILE *f = fopen(c->arg, "wb");
    if (!talk_ask(s, &(struct msg){ .type = MSG_GET_VEC }, &r, 10000) || r.m.type != MSG_VEC || !f)
        die("no vector");
    fwrite(zmq_msg_data(&r.body), 1, zmq_msg_size(&r.body), f);
    fclose(f);
}

static bool attack(struct scene *c, const char *name)
{
    const char *to = c->address[0];
    if (strcmp(name, "strangers") == 0)
        attack_no_entry(&c->l, to);
    else if (strcmp(name, "hello-other") == 0)
        attack_hello_other(&c->l, to);
    else if (strcmp(name, "hello-replayed") == 0)
        hello_replayed(c);
    else if (strcmp(name, "heads") == 0)
        attack_heads(&c->l, to);
    else if (strcmp(name, "ranges") == 0)
        attack_ranges(&c->l, to);
    else if (strncmp(name, "flood-", 6) == 0)
        attack_flood(&c->l, to, name + 6, 2, 4);
    else if (strcmp(name, "ports") == 0)
        attack_ports(&c->l, to, 3000);
    else if (strcmp(name, "save-vector") == 0)
        save_vector(c);
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    static struct scene c;
    if (argc < 4)
        die("usage: liar HOME SCENARIO ADDRESS... [ARGUMENT]");
    liar_open(&c.l, argv[1]);
    c.address = (const char **)argv + 3;
    while (3 + c.naddress < argc && strncmp(argv[3 + c.naddress], "127.", 4) == 0)
        c.naddress++;
    c.arg = 3 + c.naddress < argc ? argv[3 + c.naddress] : "";
    if (!stand(&c, argv[2]) && !attack(&c, argv[2]))
        die("%s: no such scenario", argv[2]);
    fflush(stdout);
    _exit(0);                            /* sockets are full of what nobody will read */
}
