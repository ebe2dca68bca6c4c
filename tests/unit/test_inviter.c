/* Joining, both sides over real sockets: who gets in, and when a code no longer works. */
#include "tests/unit/t_join.h"

static void script_join(const struct info *info, int from_parent)
{
    (void)from_parent;
    OK(join(info, "laptop", info->code[0], info->at));
    struct home *h;
    OK(home_open(in_temp("laptop"), &h));
    const struct group *g = control_group(h->control);
    const struct member *self = group_find(g, &h->keys->dev);
    CHECK(self && self->role == ROLE_MEMBER && g->nmember == 2);
    EQ_S(self->card.name, "laptop");
    EQ_S(g->member[0].card.name, "owner");
    home_close(&h, true);
    struct config c;
    OK(config_load(in_temp("laptop/config"), &c));
    EQ_S(c.peers, info->at);
    EQ_S(c.folder, in_temp("laptop-folder"));
    config_release(&c);
    CHECK(temp_has("laptop-folder/.lanyard/marker"));

    FAILS(join(info, "second", info->code[0], info->at), ERR_DENIED, "has been used already");
    FAILS(join(info, "laptop", info->code[0], info->at), ERR_EXISTS, "already holds a device");
    CHECK(!temp_has("second") && !temp_has("second-folder"));
}

static void test_join_and_join_again(void)
{
    struct world w = begin(script_join);
    start(&w);
    invite(&w, 0, ROLE_MEMBER, TTL_S);
    serve(&w);
    EQ_U(w.joined, 1);
    EQ_U(w.appended, 1);
    EQ_U(w.ended, 0);
    EQ_U(w.joined_number, w.number[0]);
    EQ_S(w.joined_name, "laptop");
    EQ_S(w.hint, "none");
    EQ_U(group_of(&w)->ctl_n, 1);
    struct home *h;
    OK(home_open(in_temp("laptop"), &h));
    EQ_MEM(h->group_keys, w.home->group_keys, sizeof *h->group_keys);
    uint8_t plain[40];                                     /* the keys in the log are sealed to the new device, and right */
    struct bytes blob;
    struct ctl c;
    struct ctl_op op;
    OK(control_record(h->control, 1, &blob));
    OK(ctl_decode(blob.p, blob.len, &c));
    struct mp ops = ctl_ops(&c);
    ctl_op_next(&ops, &op);
    OK(keys_unseal(plain, op.sealed.p, op.sealed.len, h->keys));
    EQ_MEM(plain, h->group_keys->k_epoch, 32);
    CHECK(plain[32] == h->group_keys->epoch && sodium_is_zero(plain + 33, 7));

    struct inviter *i = new_inviter(&w, h);                /* who may invite whom */
    char code[CODE_TEXT];
    uint64_t number;
    FAILS(inviter_invite(i, ROLE_MEMBER, 60, code, &number), ERR_DENIED, "only an owner or admin can invite: ask owner");
    FAILS(inviter_invite(w.inviter, ROLE_MEMBER, 0, code, &number), ERR_USAGE, "an invite can last");
    FAILS(inviter_invite(w.inviter, ROLE_MEMBER, INVITE_TTL_MAX_S + 1, code, &number), ERR_USAGE, "an invite can last");
    for (int n = 0; n < INVITES; n++)                      /* the used one makes room */
        OK(inviter_invite(w.inviter, ROLE_READER, 60, code, &number));
    FAILS(inviter_invite(w.inviter, ROLE_READER, 60, code, &number), ERR_FULL, "open already");
    inviter_free(&i);
    home_close(&h, true);
    end(&w);
}

static void other_code(const char *code, char out[CODE_TEXT], int same_hint)
{
    char want[3], hint[3];
    code_hint(code, want);
    do {
        code_generate(out);
        code_hint(out, hint);
    } while ((strcmp(want, hint) == 0) != same_hint || strcmp(code, out) == 0);
}

static void script_wrong(const struct info *info, int from_parent)
{
    (void)from_parent;
    char wrong[CODE_TEXT];
    other_code(info->code[0], wrong, 0);
    FAILS(join(info, "guest", wrong, info->at), ERR_DENIED, "no device here waits for this code");
    other_code(info->code[0], wrong, 1);
    FAILS(join(info, "guest", wrong, info->at), ERR_DENIED, "wrong code");
    CHECK(!temp_has("guest") && !temp_has("guest-folder"));
    OK(join(info, "guest", info->code[0], info->at));
    OK(join(info, "guest2", info->code[1], info->at));     /* two were open */
}

static void test_wrong_code(void)
{
    struct world w = begin(script_wrong);
    start(&w);
    invite(&w, 1, ROLE_ADMIN, TTL_S);
    invite(&w, 0, ROLE_MEMBER, TTL_S);
    serve(&w);
    EQ_U(w.joined, 2);
    EQ_U(group_of(&w)->nmember, 3);
    CHECK(group_by_name(group_of(&w), "guest")->role == ROLE_MEMBER && group_by_name(group_of(&w), "guest2")->role == ROLE_ADMIN);
    struct home *h;
    OK(home_open(in_temp("guest2"), &h));
    struct inviter *i = new_inviter(&w, h);
    char code[CODE_TEXT];
    uint64_t number;
    FAILS(inviter_invite(i, ROLE_OWNER, 60, code, &number), ERR_DENIED, "cannot make another one owner");
    inviter_free(&i);
    home_close(&h, true);
    end(&w);
}

static void script_nobody(const struct info *info, int from_parent)
{
    (void)from_parent;
    char code[CODE_TEXT];
    code_generate(code);
    FAILS(join(info, "guest", code, info->at), ERR_DENIED, "no invite is open");
    FAILS(join(info, "guest", code, "127.0.0.1:1"), ERR_TIMEOUT, "nobody answers at 127.0.0.1:1");
    FAILS(join(info, "guest", code, "127.0.0.1"), ERR_USAGE, "not HOST:PORT");
    CHECK(!temp_has("guest"));
}

static void test_no_invite(void)
{
    struct world w = begin(script_nobody);
    start(&w);
    serve(&w);
    EQ_U(group_of(&w)->ctl_n, 0);
    end(&w);
}

static void script_burn(const struct info *info, int from_parent)
{
    (void)from_parent;
    struct stranger s = {0};
    uint8_t guess[32];
    stranger_open(&s, info->at);
    for (int i = 0; i < INVITE_TRIES; i++) {
        randombytes_buf(guess, sizeof guess);
        struct pake *p = ask_share(&s, info->code[0], guess);
        CHECK(s.m.type == MSG_JOIN2);
        OK(pake_derive(p, s.m.join2.share));
        FAILS(pake_check(p, s.m.join2.tag), ERR_DENIED, "wrong code");
        pake_free(&p);
        struct msg m = {.type = MSG_JOIN3, .req = 9};       /* as if it had been right */
        if (i % 2) {
            ask(&s, &m, "x", 1);
            refused(&s, MSGERR_AUTH, "wrong code");
            ask(&s, &m, "x", 1);
            refused(&s, MSGERR_AUTH, "no exchange");
        }
    }
    struct pake *p = ask_share(&s, info->code[0], guess);
    refused(&s, MSGERR_AUTH, "tried too often");
    pake_free(&p);
    stranger_close(&s);
    FAILS(join(info, "late", info->code[0], info->at), ERR_DENIED, "tried too often");
    OK(join(info, "guest", info->code[1], info->at));      /* another invite is another chance */
}

static void test_five_tries_burn(void)
{
    struct world w = begin(script_burn);
    start(&w);
    invite(&w, 1, ROLE_MEMBER, TTL_S);
    invite(&w, 0, ROLE_MEMBER, TTL_S);
    serve(&w);
    EQ_U(w.joined, 1);
    EQ_S(w.joined_name, "guest");
    EQ_U(group_of(&w)->ctl_n, 1);
    end(&w);
}

static void script_expired(const struct info *info, int from_parent)
{
    char c;
    CHECK(read(from_parent, &c, 1) == 1 && c == 'E');
    FAILS(join(info, "late", info->code[0], info->at), ERR_DENIED, "expired");
    CHECK(read(from_parent, &c, 1) == 1 && c == 'E');
    FAILS(join(info, "late", info->code[1], info->at), ERR_DENIED, "no invite is open");   /* the last is over: closed */
}

static void test_expired(void)
{
    struct world w = begin(script_expired);
    start(&w);
    invite(&w, 1, ROLE_MEMBER, 4);
    invite(&w, 0, ROLE_MEMBER, 1);
    serve(&w);
    EQ_U(w.joined, 0);
    EQ_U(w.ended, 2);
    EQ_U(w.ended_number, w.number[1]);
    CHECK(strstr(w.why, "expired"));
    EQ_S(w.hint, "none");
    EQ_U(group_of(&w)->ctl_n, 0);
    end(&w);
}

int main(void)
{
    if (keys_init() < 0)
        return 1;
    CHECK(log_set_level_by_name("error") == 0);
    RUN(test_join_and_join_again);
    RUN(test_wrong_code);
    RUN(test_no_invite);
    RUN(test_five_tries_burn);
    RUN(test_expired);
    temp_end();
    return t_done();
}
