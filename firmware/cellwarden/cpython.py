"""What MicroPython offers and CPython lacks: `micropython.viper`, `const`, and the casts `ptr8` and `ptr32`."""

import builtins
import sys
import types


def _same(thing):
    return thing


micropython = types.ModuleType("micropython", __doc__)
micropython.viper = micropython.native = micropython.const = _same
sys.modules.setdefault("micropython", micropython)
builtins.ptr8 = builtins.ptr32 = _same
