"""What encoding a file's text is in, where the file does not say, and text that was taken over undecoded."""

from __future__ import annotations

import codecs
from collections.abc import Iterable

import pyarrow as pa

from pipeline.formats.recognise import Source

FALLBACK = "cp1252"
"""Windows Western: what British councils' programs wrote when they wrote no encoding."""

_CHUNK_BYTES = 1 << 20


def encoding_of(chunks: Iterable[bytes]) -> str | None:
    """``utf-8`` if the bytes are UTF-8 beyond ASCII, ``cp1252`` if they are not UTF-8, None if they are plain ASCII.

    Examples
    --------
    >>> encoding_of([b"Chapel St"]), encoding_of(["Café".encode()]), encoding_of(["Café".encode("cp1252")])
    (None, 'utf-8', 'cp1252')
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    plain = True
    try:
        for chunk in chunks:
            plain = plain and chunk.isascii()
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return FALLBACK
    return None if plain else "utf-8"


def dbf_encoding(source: Source) -> tuple[str | None, list[str]]:
    """The encoding to read a Shapefile with, where neither ``.cpg`` nor the DBF itself says; and the remark on it."""
    beside = {each.suffix.lower(): each for each in source.files}
    if ".cpg" in beside or ".dbf" not in beside:
        return None, []
    with beside[".dbf"].open("rb") as stream:
        header = stream.read(32)
        if len(header) < 32 or header[29]:
            return None, []
        stream.seek(int.from_bytes(header[8:10], "little"))
        found = encoding_of(iter(lambda: stream.read(_CHUNK_BYTES), b""))
    if found is None:
        return None, []
    return found, [f"The Shapefile says no encoding; its text is read as {found}. Set encoding if that is wrong."]


def decode(column: pa.Array, encoding: str | None) -> pa.Array:
    """``column``, with text that is not UTF-8 decoded by ``encoding`` (else Windows Western)."""
    if not pa.types.is_string(column.type):
        return column
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        raw = column.cast(pa.binary())
        text = [None if each is None else each.decode(encoding or FALLBACK, "replace") for each in raw.to_pylist()]
        return pa.array(text, pa.string())
    return column
