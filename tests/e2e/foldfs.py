"""A file system that folds: names are equal when they are after Unicode normalisation and without case, and keep the spelling they were
made with, as on ext4 with casefold, vfat, HFS+. It speaks FUSE with the kernel itself and stores everything in another directory.

    foldfs.py STORE MOUNTPOINT [NAME]       serves until it is unmounted

With NAME only directories of that name fold, and what is made in them, as those that have the flag of ext4 with casefold; and they say so.

Needs root and /dev/fuse. No leases, no hard links, one request after the other: it is for tests."""
import ctypes
import errno
import os
import stat
import struct
import sys
import unicodedata

libc = ctypes.CDLL(None, use_errno=True)
NOREPLACE, EXCHANGE = 1, 2
HEADER, ATTR = struct.Struct("<IIQQIIIHH"), struct.Struct("<6Q10I")
(LOOKUP, FORGET, GETATTR, SETATTR, READLINK, SYMLINK, MKDIR, UNLINK, RMDIR, RENAME, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, FLUSH, INIT,
 OPENDIR, READDIR, RELEASEDIR, FSYNCDIR, CREATE, INTERRUPT, IOCTL, BATCH_FORGET, FALLOCATE, RENAME2, SYNCFS) = (
    1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 14, 15, 16, 17, 18, 20, 25, 26, 27, 28, 29, 30, 35, 36, 39, 42, 43, 45, 50)


def folded(name):
    text = name.decode("utf-8", "surrogateescape")
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())


def checked(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


GETFLAGS, CASEFOLD = 0x80086601, 0x40000000


class Server:
    def __init__(self, store, only=None):
        self.only = only and os.fsencode(only)
        self.path, self.node, self.last = {1: os.fsencode(store)}, {os.fsencode(store): 1}, 1

    # ---- names and nodes ----

    def folds(self, directory):
        return self.only is None or self.only in directory.split(b"/")

    def found(self, parent, name):
        """The path of what answers to the name in a directory; None when there is nothing."""
        directory = self.path[parent]
        exact = os.path.join(directory, name)
        if os.path.lexists(exact):
            return exact
        if not self.folds(directory):
            return None
        wanted = folded(name)
        for other in os.listdir(directory):
            if folded(other) == wanted:
                return os.path.join(directory, other)
        return None

    def must(self, parent, name):
        path = self.found(parent, name)
        if path is None:
            raise OSError(errno.ENOENT, "no such file")
        return path

    def free(self, parent, name):
        if self.found(parent, name) is not None:
            raise OSError(errno.EEXIST, "it is there")
        return os.path.join(self.path[parent], name)

    def node_of(self, path):
        if path not in self.node:
            self.last += 1
            self.node[path], self.path[self.last] = self.last, path
        return self.node[path]

    def moved(self, pairs):
        """Nodes go along with what was renamed: pairs of old and new paths, at once."""
        gone = {}
        for old, new in pairs:
            for path, node in self.node.items():
                if path == old or path.startswith(old + b"/"):
                    gone[path] = (node, new and new + path[len(old):])
        for path in gone:
            del self.node[path]
        for node, path in gone.values():
            if path:
                self.node[path], self.path[node] = node, path

    # ---- answers ----

    def attr(self, path):
        st = os.lstat(path)
        parts = [divmod(t, 10**9) for t in (st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns)]
        return ATTR.pack(st.st_ino, st.st_size, st.st_blocks, *(s & (1 << 64) - 1 for s, _ in parts), *(ns for _, ns in parts),
                         st.st_mode, 1 if not stat.S_ISDIR(st.st_mode) else st.st_nlink, st.st_uid, st.st_gid, 0, 4096, 0)

    def entry(self, path):
        return struct.pack("<4Q2I", self.node_of(path), 0, 0, 0, 0, 0) + self.attr(path)

    def attributes(self, path):
        return struct.pack("<QII", 0, 0, 0) + self.attr(path)

    # ---- requests ----

    def lookup(self, node, body):
        return self.entry(self.must(node, body[:-1]))

    def getattr(self, node, body):
        return self.attributes(self.path[node])

    def setattr(self, node, body):
        valid, _, _, size, _, atime, mtime, _, ans, mns, _, mode, _, uid, gid, _ = struct.unpack("<IIQQQQQQIIIIIIII", body)
        path = self.path[node]
        if valid & 1:
            os.chmod(path, stat.S_IMODE(mode))
        if valid & 6:
            os.chown(path, uid if valid & 2 else -1, gid if valid & 4 else -1, follow_symlinks=False)
        if valid & 8:
            os.truncate(path, size)
        if valid & 0x1b0:
            st = os.lstat(path)
            if valid & 0x180:                        # ..._NOW
                os.utime(path, follow_symlinks=False)
            else:
                signed = lambda s: s - (1 << 64) if s >> 63 else s
                times = (signed(atime) * 10**9 + ans if valid & 0x10 else st.st_atime_ns,
                         signed(mtime) * 10**9 + mns if valid & 0x20 else st.st_mtime_ns)
                os.utime(path, ns=times, follow_symlinks=False)
        return self.attributes(path)

    def readlink(self, node, body):
        return os.readlink(self.path[node])

    def symlink(self, node, body):
        name, target = body.split(b"\0")[:2]
        path = self.free(node, name)
        os.symlink(target, path)
        return self.entry(path)

    def mkdir(self, node, body):
        path = self.free(node, body[8:-1])
        os.mkdir(path)
        os.chmod(path, stat.S_IMODE(struct.unpack_from("<I", body)[0]))
        return self.entry(path)

    def unlink(self, node, body):
        path = self.must(node, body[:-1])
        os.unlink(path)
        self.moved([(path, None)])
        return b""

    def rmdir(self, node, body):
        path = self.must(node, body[:-1])
        os.rmdir(path)
        self.moved([(path, None)])
        return b""

    def rename(self, node, body):
        return self.rename_to(node, struct.unpack_from("<Q", body)[0], 0, body[8:])

    def rename2(self, node, body):
        to, flags, _ = struct.unpack_from("<QII", body)
        return self.rename_to(node, to, flags, body[16:])

    def rename_to(self, node, to, flags, names):
        old_name, new_name = names.split(b"\0")[:2]
        old, there = self.must(node, old_name), self.found(to, new_name)
        new = os.path.join(self.path[to], new_name) if there is None or there == old else there
        if there is not None and there != old and flags & NOREPLACE:
            raise OSError(errno.EEXIST, "it is there")
        checked(libc.renameat2(-100, old, -100, new, flags))
        self.moved([(old, new), (new, old)] if flags & EXCHANGE else [(new, None), (old, new)] if there not in (None, old) else [(old, new)])
        return b""

    def open(self, node, body):
        flags = struct.unpack_from("<I", body)[0] & ~(os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
        return struct.pack("<QII", os.open(self.path[node], flags | os.O_CLOEXEC), 0, 0)

    def create(self, node, body):
        flags, mode = struct.unpack_from("<II", body)
        path = self.free(node, body[16:-1])
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.fchmod(fd, stat.S_IMODE(mode))
        return self.entry(path) + struct.pack("<QII", fd, 0, 0)

    def read(self, node, body):
        fd, offset, size = struct.unpack_from("<QQI", body)
        return os.pread(fd, size, offset)

    def write(self, node, body):
        fd, offset, size = struct.unpack_from("<QQI", body)
        return struct.pack("<II", os.pwrite(fd, body[40:40 + size], offset), 0)

    def release(self, node, body):
        os.close(struct.unpack_from("<Q", body)[0])
        return b""

    def fsync(self, node, body):
        return b""

    def fallocate(self, node, body):
        return b""

    def ioctl(self, node, body):
        if struct.unpack_from("<QII", body)[2] != GETFLAGS:
            raise OSError(errno.ENOTTY, "no such request")
        flags = CASEFOLD if self.only and self.folds(self.path[node]) else 0
        return struct.pack("<iIII", 0, 0, 0, 0) + struct.pack("<I", flags)

    def statfs(self, node, body):
        v = os.statvfs(self.path[node])
        return struct.pack("<5Q4I6I", v.f_blocks, v.f_bfree, v.f_bavail, v.f_files, v.f_ffree, v.f_bsize, 255, v.f_frsize, 0, *[0] * 6)

    def opendir(self, node, body):
        return struct.pack("<QII", 0, 0, 0)

    def readdir(self, node, body):
        _, offset, size = struct.unpack_from("<QQI", body)
        out = b""
        names = sorted(os.listdir(self.path[node]))
        for number, name in enumerate(names[offset:], offset + 1):
            st = os.lstat(os.path.join(self.path[node], name))
            record = struct.pack("<QQII", st.st_ino, number, len(name), stat.S_IFMT(st.st_mode) >> 12) + name
            record += bytes(-len(record) % 8)
            if len(out) + len(record) > size:
                break
            out += record
        return out

    def releasedir(self, node, body):
        return b""

    def init(self, node, body):
        return struct.pack("<IIIIHHIIHHIIH11H", 7, 31, 1 << 16, 1 << 5, 0, 0, 1 << 17, 1, 0, 0, 0, 0, 0, *[0] * 11)

    requests = {LOOKUP: lookup, GETATTR: getattr, SETATTR: setattr, READLINK: readlink, SYMLINK: symlink, MKDIR: mkdir, UNLINK: unlink,
                RMDIR: rmdir, RENAME: rename, RENAME2: rename2, OPEN: open, READ: read, WRITE: write, STATFS: statfs, RELEASE: release,
                FSYNC: fsync, FLUSH: fsync, FSYNCDIR: fsync, SYNCFS: fsync, INIT: init, OPENDIR: opendir, READDIR: readdir,
                RELEASEDIR: releasedir, CREATE: create, FALLOCATE: fallocate, IOCTL: ioctl}

    def answer(self, code, node, body):
        if code not in self.requests:
            return -errno.ENOSYS, b""
        try:
            return 0, self.requests[code](self, node, body)
        except OSError as e:
            return -e.errno, b""


def serve(store, top, only=None):
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    checked(libc.mount(b"foldfs", os.fsencode(top), b"fuse", 0, options.encode()))
    print("mounted", flush=True)
    server = Server(store, only)
    while True:
        try:
            request = os.read(fd, 1 << 18)
        except OSError as e:
            if e.errno == errno.ENODEV:
                return                               # unmounted
            if e.errno in (errno.EINTR, errno.ENOENT):
                continue
            raise
        _, code, unique, node = HEADER.unpack_from(request)[:4]
        if code in (FORGET, BATCH_FORGET, INTERRUPT):
            continue
        error, body = server.answer(code, node, request[HEADER.size:])
        try:
            os.write(fd, struct.pack("<IiQ", 16 + len(body), error, unique) + body)
        except OSError as e:
            if e.errno != errno.ENOENT:              # the request was interrupted
                raise


if __name__ == "__main__":
    os.umask(0)
    serve(*sys.argv[1:])
