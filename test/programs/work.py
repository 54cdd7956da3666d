"""Reads a file line by line and writes another: what each line hashes to, chained; big integers, floats, a generator."""

import hashlib
import math
import sys


def fibonacci():
    a, b = 0, 1
    while True:
        yield a
        a, b = b, (a + b) % (1 << 4000)


source, target = sys.argv[1], sys.argv[2]
numbers = fibonacci()
chain, total, seen = b"", 0.0, {}
with open(source) as lines, open(target, "w") as out:
    for number, line in enumerate(lines):
        for _ in range(40):
            chain = hashlib.sha256(chain + line.encode()).digest()
        total += math.sin(number) / math.sqrt(number + 1)
        seen[line.split()[0]] = seen.get(line.split()[0], 0) + 1
        out.write(f"{number} {chain.hex()[:16]} {total:.15g} {next(numbers) % 1000003} {line}")
    out.write(f"words {sorted(seen.items())}\n")
print("done", chain.hex())
