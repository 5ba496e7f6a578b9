"""A folder of files made from a log: there whole or not at all, with a manifest of what each is and its SHA-256.

Nothing in it depends on the day, the machine or its time zone: the same log gives the same bytes.
"""

import contextlib
import csv
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from .. import __version__
from ..errors import InputError

MANIFEST = "manifest.json"


@contextlib.contextmanager
def new_exhibit(path):
    """An Exhibit in a new folder, renamed to `path` when the block ends well and removed otherwise.

    Raises InputError where `path` is there already and is no empty folder, or cannot be written.
    """
    path = Path(path)
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(path, "is there already", "a new folder, so that nothing old is mixed into it")
        beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    except OSError as error:
        raise InputError(path, f"cannot be written ({error.strerror})", "a folder that can be written") from None
    try:
        made = Exhibit(beside)
        yield made
        made.finish()
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(beside, 0o777 & ~mask)
        with contextlib.suppress(FileNotFoundError):
            path.rmdir()
        beside.rename(path)
    except BaseException as error:
        shutil.rmtree(beside, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise InputError(path, f"cannot be written ({error.strerror or error})", "room on the disk") from None
        raise


class Exhibit:
    """told: what the manifest says besides the files."""

    def __init__(self, folder):
        self.folder, self.told, self._what = folder, {}, {}

    def file(self, name, what):
        """The path of a new file of this name; what: what it holds, for people."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._what[name] = what
        return path

    def text(self, name, what, text):
        """A text file."""
        self.file(name, what).write_text(text, encoding="utf-8", newline="\n")

    def json(self, name, what, value):
        """A file with one JSON value."""
        self.text(name, what, json.dumps(value, ensure_ascii=False, indent=1) + "\n")

    def lines(self, name, what, values):
        """JSON lines. Returns how many."""
        count = 0
        with open(self.file(name, what), "w", encoding="utf-8", newline="\n") as file:
            for count, value in enumerate(values, 1):  # noqa: B007
                file.write(json.dumps(value, ensure_ascii=False) + "\n")
        return count

    def table(self, stem, what, columns, rows):
        """A table as CSV and as Parquet. columns: {name: int, float, bool or str}; a cell may be None."""
        rows = list(rows)
        with open(self.file(f"{stem}.csv", what), "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(
                ["true" if cell is True else "false" if cell is False else cell for cell in row] for row in rows
            )
        pyarrow = parquet()
        kinds = {int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_(), str: pyarrow.string()}
        schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
        turned = list(zip(*rows, strict=True)) or [()] * len(columns)
        arrays = [pyarrow.array(column, field.type) for column, field in zip(turned, schema, strict=True)]
        table = pyarrow.Table.from_arrays(arrays, schema=schema)
        pyarrow.parquet.write_table(table, self.file(f"{stem}.parquet", what), compression="zstd")

    def finish(self):
        """Write the manifest."""
        files = {
            name: {
                "sha256": _sha256(self.folder / name),
                "bytes": (self.folder / name).stat().st_size,
                "what": self._what[name],
            }
            for name in sorted(self._what)
        }
        told = {"cellwarden": __version__, **self.told, "files": files}
        with open(self.folder / MANIFEST, "w", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(told, ensure_ascii=False, indent=1) + "\n")


def parquet():
    """pyarrow with its Parquet. Raises InputError where it is missing."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError("incident", "its tables need pyarrow", mend="pip install cellwarden[parquet]") from None
    return pyarrow


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
