"""Threads that work together: hashing and compressing outside the interpreter's lock, queues, conditions, a barrier each
round. What comes out depends on the number of rounds alone.

    threads.py THREADS ROUNDS|FILE

Ends after so many rounds, or in the round in which FILE is there; then says "done ROUNDS CHECKSUM".
"""

import hashlib
import os
import queue
import sys
import threading
import time
import zlib

COUNT, UNTIL = int(sys.argv[1]), sys.argv[2]
ROUNDS = int(UNTIL) if UNTIL.isdigit() else None

inboxes = [queue.Queue() for _ in range(COUNT)]
tables = [bytearray((b"table %d " % i) * 60000) for i in range(COUNT)]
chains = [b""] * COUNT
local = threading.local()
turned = threading.Condition()
state = {"round": 0, "over": False, "errors": []}


def end_round():
    state["over"] = state["round"] >= ROUNDS if ROUNDS is not None else os.path.exists(UNTIL)
    if state["round"] == 0:
        print("READY", flush=True)
    if not state["over"]:
        state["round"] += 1
        with turned:
            turned.notify_all()


barrier = threading.Barrier(COUNT, end_round)


def work(me):
    try:
        local.chain = b"%d" % me
        barrier.wait()
        while not state["over"]:
            table = tables[me]
            start = state["round"] * 4099 % (len(table) - 70000)
            part = bytes(table[start : start + 65536])
            local.chain = hashlib.sha256(local.chain + part).digest()
            packed = zlib.compress(part, 1)
            inboxes[(me + 1) % COUNT].put((local.chain, packed))
            theirs, packed = inboxes[me].get()
            back = zlib.decompress(packed)
            table[start : start + 32] = hashlib.sha256(theirs + back).digest()
            barrier.wait()
        chains[me] = local.chain
    except Exception as error:
        state["errors"].append(repr(error))
        barrier.abort()


def watch():
    """Waits with a time limit, and sees that time goes on."""
    last = time.monotonic()
    while not state["over"]:
        with turned:
            turned.wait(0.003)
        now = time.monotonic()
        if now < last:
            state["errors"].append(f"the clock went back by {last - now} s")
        last = now


threads = [threading.Thread(target=work, args=(i,)) for i in range(COUNT)] + [threading.Thread(target=watch)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if state["errors"]:
    print("FAIL:", *state["errors"])
    sys.exit(1)
total = hashlib.sha256(b"".join(chains) + b"".join(map(bytes, tables)))
print("done", state["round"], total.hexdigest(), flush=True)
