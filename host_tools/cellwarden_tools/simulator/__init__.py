"""A pack that misbehaves on request: scenarios in, CAN frames out."""

from importlib.resources import files

# The demonstration pack's profile: a link into dbc/ in a checkout, a copy in a wheel.
DEMO_PROFILE = files(__name__) / "demo" / "demo_pack.toml"
