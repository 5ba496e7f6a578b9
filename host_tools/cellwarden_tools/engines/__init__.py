"""Ways to run the one detection core: in this interpreter, or in a real MicroPython.

An engine is fed frames and gives events and, at the end, the state; all engines give the same bytes.
"""

from ..errors import InputError, did_you_mean

NAMES = ("auto", "python", "micropython", "micropython32")


def open_engine(name, image):
    """The engine `name` on an image, as a context manager. Raises InputError for an unknown or missing one."""
    if name in ("auto", "python"):
        from .python import PythonEngine

        return PythonEngine(image)
    if name == "micropython":
        from .micropython import MicroPythonEngine

        return MicroPythonEngine(image)
    if name == "micropython32":
        from .wasm import Wasm32Engine

        return Wasm32Engine(image)
    raise InputError("--engine", f"no engine `{name}`{did_you_mean(name, NAMES)}", ", ".join(NAMES))
