"""Ignore rules: .lanyardignore, which travels, and .lanyard/ignore, which does not; both in the syntax of gitignore."""
import os

from lanyard import exists, group, is_file_with, path_of, tap, test, wait_until, write

RULES = b"""# a comment
*.tmp
!keep.tmp
/top-only
build/
doc/**/draft
name\\ with\\ space
\\#literal
"""
IGNORED = ("a.tmp", "sub/b.tmp", "top-only", "build/x", "sub/build/y", "doc/draft", "doc/a/b/draft", "name with space", "#literal")
TAKEN = ("keep.tmp", "sub/keep.tmp", "sub/top-only", "sub/deep/build", "draft", "a.tmpx", "literal")


def settled_names(node, other):
    write(node.folder, "last", b"last")
    node.settle()
    wait_until(lambda: is_file_with(other.folder, "last", b"last"), 20, "the file written last")


@test
def ignored_files_stay_where_they_are():
    a, b = group("a", "b")
    write(a.folder, ".lanyardignore", RULES)
    a.settle()
    for name in IGNORED + TAKEN:
        write(a.folder, name, name.encode())
    settled_names(a, b)
    arrived = [name for name in IGNORED if exists(b.folder, name)]
    missing = [name for name in TAKEN if not is_file_with(b.folder, name, name.encode())]
    assert not arrived and not missing, f"arrived though ignored: {arrived}; missing: {missing}"
    assert all(is_file_with(a.folder, name, name.encode()) for name in IGNORED), "an ignored file was touched"


@test
def the_rules_travel_and_hold_on_the_other_side():
    a, b = group("a", "b")
    write(a.folder, ".lanyardignore", b"*.log\n")
    wait_until(lambda: is_file_with(b.folder, ".lanyardignore", b"*.log\n"), 20, "the rules on b")
    write(b.folder, "x.log", b"b's own")
    settled_names(b, a)
    assert not exists(a.folder, "x.log")


@test
def rules_in_the_nodes_corner_are_local():
    a, b = group("a", "b")
    write(a.folder, ".lanyard/ignore", b"private/\n")
    a.cli("scan")
    write(a.folder, "private/mine", b"mine")
    write(b.folder, "elsewhere/private.txt", b"x")
    settled_names(a, b)
    assert not exists(b.folder, "private") and not exists(b.folder, ".lanyard/ignore")


@test
def a_file_that_becomes_ignored_is_not_deleted_anywhere():
    a, b = group("a", "b")
    write(a.folder, "notes.bak", b"old")
    wait_until(lambda: is_file_with(b.folder, "notes.bak", b"old"), 20, "the file on b")
    write(a.folder, ".lanyardignore", b"*.bak\n")
    settled_names(a, b)
    assert is_file_with(a.folder, "notes.bak", b"old") and is_file_with(b.folder, "notes.bak", b"old")
    os.unlink(path_of(a.folder, "notes.bak"))
    settled_names(a, b)
    assert is_file_with(b.folder, "notes.bak", b"old"), "the deletion of an ignored file travelled"


@test
def what_is_taken_in_again_arrives():
    a, b = group("a", "b")
    write(b.folder, ".lanyard/ignore", b"films/\n")
    b.cli("scan")
    write(a.folder, "films/one", b"long")
    settled_names(a, b)
    assert not exists(b.folder, "films"), "an ignored directory was put on disk"
    write(b.folder, ".lanyard/ignore", b"")
    b.cli("scan")
    wait_until(lambda: is_file_with(b.folder, "films/one", b"long"), 20, "the file on b after its rules have changed")


@test
def rules_that_change_while_the_node_is_down():
    a, b = group("a", "b")
    write(b.folder, ".lanyard/ignore", b"film\n")
    b.cli("scan")
    write(a.folder, "film", b"long")
    write(a.folder, "news", b"of yesterday")
    wait_until(lambda: is_file_with(b.folder, "news", b"of yesterday"), 20, "the news on b")
    b.settle()
    write(b.folder, ".lanyard/ignore", b"film\nnews\n")
    b.cli("scan")
    write(a.folder, "news", b"of today")
    settled_names(a, b)
    assert not exists(b.folder, "film") and is_file_with(b.folder, "news", b"of yesterday")
    b.down()
    os.unlink(path_of(b.folder, ".lanyard/ignore"))
    b.up(peers=[a])
    wait_until(lambda: is_file_with(b.folder, "film", b"long"), 20, "the film on b")
    wait_until(lambda: is_file_with(b.folder, "news", b"of today"), 20, "the news of today on b")
    assert is_file_with(a.folder, "news", b"of today")
    assert a.cli("conflicts", json=True) == b.cli("conflicts", json=True) == []


@test
def the_nodes_corner_never_travels():
    a, b = group("a", "b")
    write(a.folder, ".lanyard/mine", b"x")
    settled_names(a, b)
    assert not exists(b.folder, ".lanyard/mine")


@test
def rules_of_others_make_nothing_private_public():
    a, b = group("a", "b")
    write(a.folder, ".lanyard/ignore", b"/private\n")
    a.cli("scan")
    write(a.folder, "private", b"nobody's business")
    for rules in (b"x" * 5000, b"".join(b"/no%d\n" % i for i in range(4096))):       # none of them can be read; there is no room for more
        write(b.folder, ".lanyardignore", rules)
        b.cli("scan")
        wait_until(lambda rules=rules: is_file_with(a.folder, ".lanyardignore", rules), 20, "the rules of b on a")
        a.down()
        a.up(peers=[b])
        write(a.folder, "seen", rules)
        wait_until(lambda rules=rules: is_file_with(b.folder, "seen", rules), 20, "what is not private on b")
        assert not exists(b.folder, "private")


tap.main()
