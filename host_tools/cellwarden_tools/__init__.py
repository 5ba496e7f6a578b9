"""The engineer's side of Cellwarden: compile, replay, decode, lint, simulate."""

__version__ = "0.1.0"
