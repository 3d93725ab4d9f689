"""Makes text of unknown origin fit for a terminal: the engine's own way, for its messages do the same."""

from torchconsole.engine.printable import printable as printable
