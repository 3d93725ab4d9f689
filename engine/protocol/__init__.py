"""The messages between a run and its clients: commands, events, and the state that the events add up to.

Free of torch; like `config`, it imports no other package of the engine. Commands have imperative names,
events have names in the past tense.
"""

PROTOCOL_VERSION = 2
"""The version of the protocol. Both sides ignore fields, events and commands that they do not know, so only a
change in the meaning of existing ones needs a new version."""

OLDEST_PROTOCOL = 2
"""The oldest supported version. A connection uses the older version of its two sides."""
