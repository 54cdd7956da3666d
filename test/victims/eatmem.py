"""eatmem.c for machines without a compiler: holds a known block of memory, counts, and checks the block at each turn."""

import hashlib
import os
import sys
import time

os.closerange(3, 4096)  # what the caller left open
mebibytes, pause_ms, last = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
block = b"".join(hashlib.sha256(b"%d" % i).digest() * 32768 for i in range(mebibytes))
known = hashlib.sha256(block).digest()
for count in range(1, last + 1):
    if hashlib.sha256(block).digest() != known:
        sys.exit(f"{count}: memory is damaged")
    print(count, flush=True)
    time.sleep(pause_ms / 1000)
print("done")
