"""A slow line to a port of this machine, for ssh's ProxyCommand: `throttle.py PORT BYTES_PER_SECOND`."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

PIECES = 50
"""In so many pieces a second: a piece is late by 20 ms at most."""


def pump(source: int, target: int, rate: int) -> None:
    """Pass on what comes, no faster than `rate` bytes a second."""
    while data := os.read(source, max(1, rate // PIECES)):
        os.write(target, data)
        time.sleep(len(data) / rate)


def main() -> None:
    port, rate = map(int, sys.argv[1:])
    line = socket.socket()
    # What the kernel would hold for us is no longer on its way.
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.connect(("127.0.0.1", port))
    threading.Thread(target=pump, args=(0, line.fileno(), rate), daemon=True).start()
    pump(line.fileno(), 1, rate)


if __name__ == "__main__":
    main()
