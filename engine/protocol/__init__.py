"""What a run and those who watch it say to each other: commands, events, and the state they add up to.

The lowest room of the engine beside `config`: free of torch, it knows neither the trainer that speaks
nor the socket that carries. Commands are imperative, events are past tense.
"""

PROTOCOL_VERSION = 2
"""What this torchconsole speaks. Either side passes over fields, events and commands that it does not know:
only what changes the meaning of what is there already makes another version."""

OLDEST_PROTOCOL = 2
"""The oldest version that is understood: both sides speak the older one's."""
