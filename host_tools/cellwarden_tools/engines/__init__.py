"""Ways to run the one detection core: in this interpreter, as machine code of this computer, or in a real MicroPython.

An engine is fed frames and gives events and, at the end, the state; all engines give the same bytes.
"""

import importlib.util

from ..errors import InputError, did_you_mean

NAMES = ("auto", "fast", "python", "micropython", "micropython32", "cortex-m3")
MANY = 150_000  # frames from which loading the compiled core pays
VERY_MANY = 2_000_000  # frames from which compiling it pays


def open_engine(name, image, frames=None):
    """The engine `name` on an image, as a context manager. Raises InputError for an unknown or missing one.

    frames: about how many are to come, by which `auto` chooses; None = not known
    """
    if name == "auto":
        name = _choose(image, frames)
    if name == "fast":
        if not _has_numba():
            raise InputError("--engine fast", "needs Numba", mend="pip install cellwarden[fast]")
        from .fast import FastEngine

        return FastEngine(image)
    if name == "python":
        from .python import PythonEngine

        return PythonEngine(image)
    if name == "micropython":
        from .micropython import MicroPythonEngine

        return MicroPythonEngine(image)
    if name == "micropython32":
        from .wasm import Wasm32Engine

        return Wasm32Engine(image)
    if name == "cortex-m3":
        from .cortex_m3 import CortexM3Engine

        return CortexM3Engine(image)
    raise InputError("--engine", f"no engine `{name}`{did_you_mean(name, NAMES)}", ", ".join(NAMES))


def _has_numba():
    return importlib.util.find_spec("numba") is not None


def _choose(image, frames):
    if frames is None or frames < MANY or not _has_numba():
        return "python"
    from .compiled import is_compiled

    return "fast" if frames >= VERY_MANY or is_compiled(image) else "python"
