"""The engineer's side of Cellwarden: compile, replay, decode, lint, simulate."""
