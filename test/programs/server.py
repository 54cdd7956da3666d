"""A server as they are: a parent that listens, and children that have its sockets.

    server.py CHILDREN PATH

Listens on TCP (IPv4 and IPv6), UDP and a unix socket at PATH, has one connection with itself and one that its first child alone
has, with a netlink socket besides. Says "READY TCP TCP6 UDP CONNECTION" (port numbers; the last is that of its own connection),
and a line "child PID" for each child.
"""

import os
import socket
import sys
import time

CHILDREN, PATH = int(sys.argv[1]), sys.argv[2]

tcp = socket.create_server(("127.0.0.1", 0))
tcp6 = socket.create_server(("::1", 0), family=socket.AF_INET6)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 0))
unix = socket.socket(socket.AF_UNIX)
unix.bind(PATH)
unix.listen()
netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
client = socket.create_connection(tcp.getsockname())
accepted, _ = tcp.accept()
again = tcp.dup()
for _ in range(CHILDREN):
    if os.fork() == 0:
        while True:
            time.sleep(0.01)
ports = [s.getsockname()[1] for s in (tcp, tcp6, udp, client)]
print("READY", *ports, flush=True)
while True:
    time.sleep(0.01)
