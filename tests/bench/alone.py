"""The stage of one device that has many small files and nobody to send them to."""
import os
import time

import data


def scan(job):
    """The first look at all files, a look at files that are known and have not changed, and a new start on them."""
    system = job.devices(1)
    os.makedirs(system.folders[0], exist_ok=True)
    job.shelf.take(data.small_files, job.size, job.path(0, "data"))
    job.give("scan", "first", started(job), "s")
    job.calm()
    start = time.monotonic()
    system.rescan(0)
    took = time.monotonic() - start
    job.give("scan", "rescan", took, "s")
    job.give("scan", "rescan rate", job.size / took, "files/s")
    system.stop()
    job.give("scan", "restart", started(job), "s")
    job.end()
    job.shelf.put_back(data.small_files, job.size, job.path(0, "data"))


def started(job):
    """Seconds from the start of the device until it has looked at all of its folder."""
    start = time.monotonic()
    job.system.start_one(0)
    job.until(lambda: job.system.scanned(0), "all files are looked at")
    return time.monotonic() - start
