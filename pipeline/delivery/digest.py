"""What a table says, as a hash: the same whatever the batches, the file format or the width of an integer.

Used to prove that the attributes of an export are those of its source, and kept in its manifest so that the proof
can be repeated years later.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class TableDigest:
    """A hash of named columns, fed batch by batch; row order counts, batch boundaries do not.

    Examples
    --------
    >>> whole, halves = TableDigest(["a"]), TableDigest(["a"])
    >>> whole.update(pa.record_batch({"a": ["x", None]}))
    >>> halves.update(pa.record_batch({"a": ["x"]}))
    >>> halves.update(pa.record_batch({"a": pa.array([None], pa.string())}))
    >>> whole.hexdigest() == halves.hexdigest()
    True
    """

    def __init__(self, columns: list[str]) -> None:
        self._columns = {name: (hashlib.sha256(), hashlib.sha256(), hashlib.sha256()) for name in columns}
        self.rows = 0

    def update(self, batch: pa.RecordBatch) -> None:
        """Add the rows of ``batch``; columns that are not hashed may be present."""
        self.rows += batch.num_rows
        for name, hashes in self._columns.items():
            for one, part in zip(hashes, _parts(batch.column(batch.schema.get_field_index(name))), strict=True):
                one.update(part)

    def column_digests(self) -> dict[str, str]:
        """The hash of each column, in hexadecimal."""
        return {name: _joined(part.digest() for part in parts) for name, parts in self._columns.items()}

    def hexdigest(self) -> str:
        """The hash of all columns, their names and their order, in hexadecimal."""
        return _joined(f"{name}={digest};".encode() for name, digest in self.column_digests().items())


def _joined(parts: Any) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _parts(column: pa.Array) -> tuple[bytes, bytes, bytes]:
    """Which rows have a value, how long each value is, and the values; null and empty text differ in the first."""
    known = column.is_valid().to_numpy(zero_copy_only=False).astype(np.uint8).tobytes()
    if _is_fixed_width(column.type):
        return known, b"", _fixed_width_values(column).tobytes()
    values = _as_bytes(column)
    lengths = pc.binary_length(values).to_numpy(zero_copy_only=False).astype(np.int64)
    return known, lengths.tobytes(), b"".join(values.to_pylist())


def _is_fixed_width(kind: pa.DataType) -> bool:
    return bool(pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _fixed_width_values(column: pa.Array) -> np.ndarray:
    wide = pa.float64() if pa.types.is_floating(column.type) else pa.int64()
    if pa.types.is_uint64(column.type):
        wide = pa.uint64()
    return np.asarray(column.cast(wide).fill_null(0).to_numpy(zero_copy_only=False))


def _as_bytes(column: pa.Array) -> pa.Array:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_string())
    elif not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        column = pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.large_string())
    return column.cast(pa.large_binary()).fill_null(b"")
