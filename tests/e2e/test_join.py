"""Joining by code: what a right code gives, and that a wrong, mistyped, used, expired or burned one is refused in time."""
import subprocess
import time

from lanyard import exists, fixture, is_file_with, node, same_trees, tap, test, wait_until, write

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"       # Crockford's base32
DENIED = 5
REFUSED_WITHIN_S = 5


def with_check(nine):
    """The code of nine symbols: docs/PROTOCOL.md, joining; the tenth makes a weighted sum over GF(32) zero."""
    total = 0
    for symbol in nine:
        total = (total ^ ALPHABET.index(symbol)) << 1
        if total & 32:
            total ^= 0b100101
    ten = nine + ALPHABET[total]
    return ten[:5] + "-" + ten[5:]


def wrong_codes(code, count):
    """Codes as right as can be but for what they say: the check symbol holds, and they begin like the real one."""
    plain = code.replace("-", "")
    assert with_check(plain[:9]) == code, "with_check does not make the codes that invite makes"
    at = ALPHABET.index(plain[8])
    return [with_check(plain[:8] + ALPHABET[(at + i) % 32]) for i in range(1, count + 1)]


@fixture
def inviter():
    return node("a").init().up()


def refused(joiner, code, at):
    start = time.monotonic()
    done = joiner.join(code, at=at, check=False, timeout=30)
    took = time.monotonic() - start
    assert done.code == DENIED, f"exit code {done.code}: {done.err}"
    assert took < REFUSED_WITHIN_S, f"refused after {took:.1f} s"
    assert done.err.startswith("lanyard: ") and done.err.count("\n") == 1 and not done.out, (done.out, done.err)
    return done


def members(n):
    return {device["name"] for device in n.cli("devices", json=True)}


@test
def a_right_code_makes_a_member():
    a, b = inviter(), node("right")
    b.join(a.invite(), at=a.address)
    assert members(a) >= {"a", "right"}
    b.up(peers=[a])
    b.wait(30, 1)
    mine = [d for d in b.cli("devices", json=True) if d["this"]]
    assert len(mine) == 1 and mine[0]["name"] == "right" and mine[0]["role"] == "member" and not mine[0]["revoked"], mine
    assert a.status()["group"] == b.status()["group"]


@test
def a_code_may_be_typed_in_lower_case_and_without_its_dash():
    a, b = inviter(), node("typed")
    b.join(a.invite().lower().replace("-", ""), at=a.address)
    assert "typed" in members(a)


@test
def a_wrong_code_is_refused_and_the_right_one_still_works():
    a, b = inviter(), node("wrong")
    code = a.invite()
    refused(b, wrong_codes(code, 1)[0], a.address)
    assert "wrong" not in members(a)
    b.join(code, at=a.address)
    assert "wrong" in members(a)


@test
def a_code_of_another_group_is_refused():
    a, other, b = inviter(), node("other"), node("b")
    other.init().up()
    a.invite()
    refused(b, other.invite(), a.address)


@test
def a_code_without_any_invite_is_refused():
    a, b = node("a"), node("b")
    a.init().up()
    refused(b, with_check("ABCDEFGHJ"), a.address)


@test
def a_mistyped_code_is_refused_by_its_check_symbol_and_costs_no_try():
    a, b = inviter(), node("mistyped")
    code = a.invite()
    for place in (0, 3, 6, 10):
        typed = code[:place] + ALPHABET[(ALPHABET.index(code[place]) + 7) % 32] + code[place + 1:]
        refused(b, typed, a.address)
    swapped = next((code[:i] + code[i + 1] + code[i] + code[i + 2:] for i in (0, 1, 2, 3, 6, 7, 8) if code[i] != code[i + 1]))
    for _ in range(5):
        refused(b, swapped, a.address)
    b.join(code, at=a.address)


@test
def what_is_no_code_at_all_is_wrong_usage():
    b = node("b")
    for typed in ("", "ABC", "ABCDE-FGHJKM", "ABCDE-FGHJU"):
        done = b.join(typed, at=inviter().address, check=False)
        assert done.code in (2, DENIED) and done.err.count("\n") == 1, (typed, done.code, done.err)


@test
def a_used_code_is_refused():
    a, b, c = inviter(), node("first"), node("second")
    code = a.invite()
    b.join(code, at=a.address)
    refused(c, code, a.address)
    assert "second" not in members(a)


@test
def an_expired_code_is_refused():
    a, b = inviter(), node("late")
    code, over = a.invite(ttl="1s"), time.monotonic() + 1.2
    wait_until(lambda: time.monotonic() > over, 10, "the end of the invite")
    refused(b, code, a.address)
    assert "late" not in members(a)


@test
def five_wrong_tries_burn_an_invite():
    a, b = inviter(), node("guesser")
    code = a.invite()
    for wrong in wrong_codes(code, 5):
        refused(b, wrong, a.address)
    refused(b, code, a.address)
    assert "guesser" not in members(a)
    b.join(a.invite(), at=a.address)             # another invite is another chance
    assert "guesser" in members(a)


@test
def nobody_at_the_address_is_a_failure_that_says_so():
    a, b = node("gone"), node("b")
    a.init().up()
    code, address = a.invite(), a.address
    a.down()
    done = b.join(code, at=address, check=False, timeout=60)
    assert done.code in (1, 3) and address in done.err, (done.code, done.err)


@test
def a_home_is_never_overwritten():
    a, b = inviter(), node("b")
    b.init()
    key = b.cli("join", a.invite(), "--at", a.address, b.folder, check=False)
    assert key.code == 1 and "lanyard: " in key.err, (key.code, key.err)
    done = b.cli("init", b.folder, check=False)
    assert done.code == 1, (done.code, done.err)
    b.up()                                       # and it is as usable as before


@test
def an_invite_needs_a_running_node():
    a = node("a").init()
    assert a.cli("invite", check=False).code == 4


@test
def invite_may_wait_for_the_device():
    a, b = inviter(), node("waited-for")
    waiting = a.popen("lanyard", "invite", "--wait", stdout=subprocess.PIPE)
    code = waiting.stdout.readline().decode().strip()
    assert waiting.poll() is None, "returned before the device had joined"
    b.join(code, at=a.address)
    assert waiting.wait(10) == 0
    waiting.stdout.close()


@test
def the_role_of_the_invite_is_the_role_of_the_device():
    a = inviter()
    for role in ("admin", "reader"):
        b = node(role)
        b.join(a.invite(role=role), at=a.address)
        assert [d["role"] for d in a.cli("devices", json=True) if d["name"] == role] == [role]


@test
def a_reader_receives_and_changes_nothing():
    a, b = node("a").init().up(), node("reader")
    b.join(a.invite(role="reader"), at=a.address)
    b.up(peers=[a])
    write(a.folder, "f", b"from the owner")
    wait_until(lambda: is_file_with(b.folder, "f", b"from the owner"), 20, "the file at the reader")
    write(b.folder, "own", b"from the reader")
    b.cli("scan")
    write(a.folder, "later", b"x")               # comes after it: when this is over there, so would the other be here
    wait_until(lambda: is_file_with(b.folder, "later", b"x"), 20, "a later file at the reader")
    a.settle()
    assert not exists(a.folder, "own"), "a reader's file came to the owner"


@test
def an_admin_may_invite_too():
    a, b = node("a").init().up(), node("admin")
    b.join(a.invite(role="admin"), at=a.address)
    b.up(peers=[a])
    b.wait(30, 1)
    c = node("c")
    c.join(b.invite(), at=b.address)
    c.up(peers=[b])
    write(c.folder, "hello", b"from c")
    same_trees(b, c)
    wait_until(lambda: is_file_with(a.folder, "hello", b"from c"), 30, "the file of c at a")
    assert members(a) == {"a", "admin", "c"}


tap.main()
