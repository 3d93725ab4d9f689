"""Connect to a local port at a limited rate, for ssh's ProxyCommand: `throttle.py PORT BYTES_PER_SECOND`."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

PIECES = 50
"""Pieces per second: the limit delays a piece by at most 20 ms."""


def pump(source: int, target: int, rate: int) -> None:
    """Copy bytes from a descriptor to another at no more than `rate` bytes per second."""
    while data := os.read(source, max(1, rate // PIECES)):
        os.write(target, data)
        time.sleep(len(data) / rate)


def main() -> None:
    port, rate = map(int, sys.argv[1:])
    line = socket.socket()
    # A small buffer: what the kernel buffered here would have left the slow line already.
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.connect(("127.0.0.1", port))
    threading.Thread(target=pump, args=(0, line.fileno(), rate), daemon=True).start()
    pump(line.fileno(), 1, rate)


if __name__ == "__main__":
    main()
