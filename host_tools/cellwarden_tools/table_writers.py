"""Rows to CSV, JSON lines or Parquet, whole or not at all; without a path to standard output."""

import contextlib
import csv
import json
import sys

from .errors import InputError
from .files import whole_file

_BATCH = 65536


@contextlib.contextmanager
def open_table(path, columns, as_json=False):
    """A writer with `write(row)`; the suffix of `path` says the format, `as_json` that of standard output.

    Raises InputError for an unknown suffix or a missing pyarrow.
    """
    if path is None:
        yield (_JsonLines if as_json else _Csv)(sys.stdout, columns)
        return
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        with whole_file(path) as file, _parquet(file, columns, path) as writer:
            yield writer
    elif suffix in (".csv", ".jsonl"):
        with whole_file(path, "w", newline="") as file:
            yield (_Csv if suffix == ".csv" else _JsonLines)(file, columns)
    else:
        raise InputError(path, f"suffix `{suffix}` is no table", ".csv, .jsonl or .parquet")


class _Csv:
    def __init__(self, file, columns):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        self.write = writer.writerow


class _JsonLines:
    def __init__(self, file, columns):
        self.file, self.columns = file, columns

    def write(self, row):
        row = {name: value for name, value in zip(self.columns, row, strict=True) if value is not None}
        self.file.write(json.dumps(row, ensure_ascii=False) + "\n")


class _Parquet:
    def __init__(self, writer, schema, arrow):
        self.writer, self.schema, self.arrow, self.rows = writer, schema, arrow, []

    def write(self, row):
        self.rows.append(row)
        if len(self.rows) == _BATCH:
            self.flush()

    def flush(self):
        columns = zip(*self.rows, strict=True) if self.rows else [[] for _ in self.schema]
        arrays = [
            self.arrow.array([_as(value, field.type, self.arrow) for value in column], field.type)
            for column, field in zip(columns, self.schema, strict=True)
        ]
        self.writer.write_table(self.arrow.Table.from_arrays(arrays, schema=self.schema))
        self.rows = []


def _as(value, kind, arrow):
    return float(value) if value is not None and kind == arrow.float64() else value


@contextlib.contextmanager
def _parquet(file, columns, path):
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(path, "Parquet needs pyarrow", "it installed", "pip install cellwarden[parquet]") from None
    kinds = {"t": pyarrow.float64(), "value": pyarrow.float64(), "raw": pyarrow.float64(), "index": pyarrow.int32()}
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in columns])
    with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        made = _Parquet(writer, schema, pyarrow)
        yield made
        made.flush()
