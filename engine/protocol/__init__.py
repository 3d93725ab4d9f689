"""What a run and those who watch it say to each other: commands, events, and the state they add up to.

The lowest room of the engine beside `config`: free of torch, it knows neither the trainer that speaks
nor the socket that carries. Commands are imperative, events are past tense.
"""

PROTOCOL_VERSION = 1
