"""Keeps the terminals of a container, as engines do: takes each master that comes through a socket, and writes what is
shown there to a file.

    terminal-holder.py SOCKET FILE
"""
import array
import os
import selectors
import socket
import sys

path, output = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
shown = open(output, 'ab', buffering=0)
selector = selectors.DefaultSelector()
selector.register(listener, selectors.EVENT_READ)
print('ready', flush=True)
while True:
    for key, _ in selector.select():
        if key.fileobj is listener:
            connection, _ = listener.accept()
            _, control, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4))
            for _, _, data in control:
                for master in array.array('i', data):
                    selector.register(master, selectors.EVENT_READ)
        else:
            try:
                data = os.read(key.fd, 65536)
            except OSError:
                data = b''
            if data:
                shown.write(data)
            else:
                selector.unregister(key.fd)
                os.close(key.fd)
