"""The console and the command line. Never imports torch: all facts about a run come over its socket.

While the program `torchconsole` imports its modules, and at its end, ctrl+c ends it like other programs:
Python would print a traceback.
"""

import signal
import sys

IS_PROGRAM = bool(sys.argv) and sys.argv[0].rpartition("/")[2] == "torchconsole"

if IS_PROGRAM and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
