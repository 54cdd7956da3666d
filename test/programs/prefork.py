"""A prefork family: the parent hands out jobs to its children through shared memory, under a mutex and a condition of the C
library that live there: futexes. Each child has the parent's table from before the fork. Two children in three end after
some jobs, and new ones take their place.

    prefork.py CHILDREN JOBS|FILE

Ends after so many jobs, or some time after FILE is there; the parent then does all jobs again by itself and compares, and says
"done JOBS CHECKSUM".
"""

import ctypes
import hashlib
import mmap
import os
import sys
import time

CHILDREN, UNTIL = int(sys.argv[1]), sys.argv[2]
JOBS = int(UNTIL) if UNTIL.isdigit() else None
ROOM = 200_000  # jobs there is room for
FULL = 64  # jobs handed out that nobody has taken
SHARED = 1  # PTHREAD_PROCESS_SHARED

libc = ctypes.CDLL(None, use_errno=True)
shared = mmap.mmap(-1, 4096 + ROOM * 32)
lock, given, taken = (ctypes.byref((ctypes.c_char * 64).from_buffer(shared, at)) for at in (0, 64, 128))
numbers = (ctypes.c_long * 3).from_buffer(shared, 256)  # handed out, taken, finished
LAST = -1


def check(result, what):
    if result != 0:
        raise OSError(result, what)


def set_up():
    attribute = ctypes.create_string_buffer(64)
    check(libc.pthread_mutexattr_init(attribute), "mutexattr_init")
    check(libc.pthread_mutexattr_setpshared(attribute, SHARED), "mutexattr_setpshared")
    check(libc.pthread_mutex_init(lock, attribute), "mutex_init")
    check(libc.pthread_condattr_init(attribute), "condattr_init")
    check(libc.pthread_condattr_setpshared(attribute, SHARED), "condattr_setpshared")
    for condition in (given, taken):
        check(libc.pthread_cond_init(condition, attribute), "cond_init")


class Locked:
    def __enter__(self):
        check(libc.pthread_mutex_lock(lock), "mutex_lock")

    def __exit__(self, *_):
        check(libc.pthread_mutex_unlock(lock), "mutex_unlock")


table = hashlib.shake_256(b"table").digest(8 << 20)


def result(job):
    start = job * 65521 % (len(table) - 4096)
    value = job.to_bytes(8, "little")
    for _ in range(20):
        value = hashlib.sha256(value + table[start : start + 4096]).digest()
    return value


def child(patience):
    """Takes jobs until there are no more (exit status 0) or it has done its share (3)."""
    mine = bytearray(table[: 1 << 20])
    for _ in range(patience):
        with Locked():
            while numbers[0] != LAST and numbers[1] >= numbers[0]:
                check(libc.pthread_cond_wait(given, lock), "cond_wait")
            job = numbers[1]
            if job == ROOM or (numbers[0] == LAST and job >= numbers[2]):
                return 0
            numbers[1] += 1
            check(libc.pthread_cond_signal(taken), "cond_signal")
        value = result(job)
        shared[4096 + job * 32 : 4128 + job * 32] = value
        mine[job % len(mine)] ^= value[0]
    return 3


def fork(patience):
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = child(patience)
        except BaseException as error:
            os.write(1, f"FAIL: child {os.getpid()}: {error!r}\n".encode())
        finally:
            os._exit(code)
    return pid


def parent():
    set_up()
    born = 0
    children = set()
    jobs = 0
    over = False
    while True:
        while not over and len(children) < CHILDREN:
            children.add(fork(10**9 if born % 3 == 0 else 40 + born % 50))
            born += 1
        if jobs == 0:
            print("READY", flush=True)
        if not over:
            over = jobs >= JOBS if JOBS is not None else os.path.exists(UNTIL)
            over = over or jobs == ROOM
        with Locked():
            if over and numbers[0] != LAST:
                numbers[2] = jobs
                numbers[0] = LAST
                check(libc.pthread_cond_broadcast(given), "cond_broadcast")
            elif not over:
                while jobs - numbers[1] < FULL and jobs < ROOM:
                    jobs += 1
                numbers[0] = jobs
                check(libc.pthread_cond_broadcast(given), "cond_broadcast")
        if over and not children:
            break
        pid, status = os.waitpid(-1, 0 if over else os.WNOHANG)
        if pid:
            children.remove(pid)
            code = os.waitstatus_to_exitcode(status)
            if code not in (0, 3) or (code == 0 and not over):
                raise RuntimeError(f"child {pid} ended with {code}")
            if over and code == 3 and not children and numbers[1] < jobs:
                children.add(fork(10**9))
        else:
            time.sleep(0.002)
    total = hashlib.sha256()
    for job in range(jobs):
        value = result(job)
        if shared[4096 + job * 32 : 4128 + job * 32] != value:
            raise RuntimeError(f"job {job} of {jobs} has a wrong result")
        total.update(value)
    print("done", jobs, total.hexdigest(), flush=True)


try:
    parent()
except Exception as error:
    print(f"FAIL: {error!r}", flush=True)
    sys.exit(1)
