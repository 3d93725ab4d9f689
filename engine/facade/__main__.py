"""`python -m torchconsole`: the command, for launchers such as torchrun that start a module."""

import sys

from torchconsole.tui.cli import main

sys.exit(main())
