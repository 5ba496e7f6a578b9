"""Cellwarden's device package: runs on MicroPython and, unchanged, on CPython."""

import sys

if sys.implementation.name != "micropython":
    from cellwarden import cpython  # noqa: F401  (registers the stand-in for `micropython`)
else:
    import builtins

    # A build without the native emitter (no @micropython.viper) still meets the casts in the hot functions.
    if not hasattr(builtins, "ptr32"):

        def _same(view):
            return view

        try:
            builtins.ptr8 = builtins.ptr32 = _same
        except AttributeError:  # builtins are read-only: only viper builds run here, and viper knows the words itself
            pass
