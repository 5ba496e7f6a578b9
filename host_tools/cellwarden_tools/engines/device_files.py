"""The device package as a port of MicroPython takes it."""

import shutil
from pathlib import Path

import cellwarden

DECORATOR = "@micropython.viper\n"


def device_text(text, native):
    """A source file for a port with the native emitter, or without: such a port refuses the decorator, so it goes."""
    return text if native else text.replace(DECORATOR, "")


def write_device_files(folder, native=True):
    """Copy the package `cellwarden` (without what only CPython needs) into `folder`."""
    source = Path(cellwarden.__file__).parent
    for path in sorted(source.rglob("*.py")):
        relative = path.relative_to(source)
        if relative.name == "cpython.py":
            continue
        target = Path(folder) / "cellwarden" / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(device_text(path.read_text(encoding="utf-8"), native), encoding="utf-8")
    shutil.copy(Path(__file__).with_name("runner.py"), folder)


def write_image_files(image, folder, native=True):
    """Unpack what the device needs of an image into `folder`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in image.parts.items():
        if not name.endswith(".py"):
            (folder / name).write_bytes(data)
    (folder / "decoder.py").write_text(device_text(image.decoder(whole=native).decode(), native), encoding="utf-8")
