"""Bytes of files as text: whatever compressed them, and whatever encoding a shell or a spreadsheet left behind."""

from __future__ import annotations

import bz2
import codecs
import gzip
import importlib
import io
import lzma
import zipfile
from collections.abc import Callable, Mapping
from typing import IO, Any, Final

from lnsim_gym.errors import LnsimError, MissingDependency, TopologyError

__all__ = ["as_utf8", "unpacked"]

MAX_BYTES: Final = 2**31
"""Most bytes that are unpacked: a public graph has a tenth of that."""
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CHUNK: Final = 2**20


def unpacked(data: bytes, name: str) -> Mapping[str, bytes]:
    """Return the files in some bytes: as they are, decompressed, or those of a zip archive.

    Args:
        data: What a file holds.
        name: How to call it.

    Raises:
        TopologyError: They are damaged, or far too much.
        MissingDependency: The package that decompresses them is not installed.
    """
    try:
        if data.startswith(b"PK\x03\x04"):
            return _unzipped(data)
        for magic, opened in _PACKED.items():
            if data.startswith(magic):
                unpacked = _limited(opened(io.BytesIO(data)))
                if not unpacked:  # some packages take the end of a file for the end of what it holds
                    raise TopologyError("cannot be unpacked: it holds nothing, or its end is missing")
                return {name: unpacked}
    except LnsimError:
        raise
    except Exception as problem:  # each kind of archive fails in its own ways
        raise TopologyError(f"cannot be unpacked: {problem}") from None
    return {name: data}


def as_utf8(data: bytes) -> bytes:
    """Return text as UTF-8 without a mark at its begin: from UTF-8, -16 or -32, else from Windows' code page 1252."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace").encode("utf-8", "replace")
    zeros = [byte == 0 for byte in data[:4]]
    if zeros in ([True, False] * 2, [False, True] * 2):  # UTF-16 without its mark, plain characters at its begin
        return data.decode("utf-16-be" if zeros[0] else "utf-16-le", "replace").encode("utf-8", "replace")
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(data)
    try:
        for start in range(0, len(data), _CHUNK):
            decoder.decode(view[start : start + _CHUNK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace").encode()
    return data


def _unzipped(data: bytes) -> Mapping[str, bytes]:
    """Return the files of a zip archive by their names, without folders."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        plain = [member for member in members if not member.filename.startswith("__MACOSX/")]
        if sum(member.file_size for member in plain) > MAX_BYTES:
            raise TopologyError(f"holds more than {MAX_BYTES:,} bytes, which no network needs")
        return {member.filename.rpartition("/")[2]: _limited(archive.open(member)) for member in plain}


def _limited(file: IO[bytes]) -> bytes:
    """Read a file that decompresses itself."""
    with file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise TopologyError(f"holds more than {MAX_BYTES:,} bytes, which no network needs")
    return data


def _zstandard(file: IO[bytes]) -> IO[bytes]:
    """Open a Zstandard file: Python reads it since 3.14, for older ones there is a package."""
    for module in ("compression.zstd", "zstandard"):
        try:
            opened: Any = importlib.import_module(module).open(file)
        except ImportError:
            continue
        return opened  # type: ignore[no-any-return]
    raise MissingDependency('files of Zstandard need a package: pip install "lnsim_gym[graphs]", or unpack them')


_PACKED: Final[Mapping[bytes, Callable[[Any], Any]]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": _zstandard,
}
"""What opens each kind of compressed file, by its first bytes."""
