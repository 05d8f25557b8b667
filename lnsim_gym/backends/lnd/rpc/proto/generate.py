"""Generates the Python modules of the ``.proto`` files beside it (``python -m`` with the name of this module).

protoc's output is adapted in three ways. Messages go into a descriptor pool of our own, so that a program may load
LND's full protos as well. The check that the protobuf runtime is as new as protoc goes, because the code works
with every runtime the package allows. Imports between the modules become absolute.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["FILES", "generated_sources", "main"]

FILES: Final = ("lightning.proto", "router.proto", "invoices.proto")
_HERE: Final = Path(__file__).parent
_PACKAGE: Final = "lnsim_gym.backends.lnd.rpc.proto"


def generated_sources() -> dict[str, str]:
    """Run protoc (of grpcio-tools) and return the text of every generated file by its name."""
    from grpc_tools import protoc  # type: ignore[import-untyped]  # noqa: PLC0415 - needed by developers only

    with tempfile.TemporaryDirectory() as folder:
        arguments = ["protoc", f"-I{_HERE}", f"--python_out={folder}", f"--pyi_out={folder}", *FILES]
        if protoc.main(arguments) != 0:
            raise RuntimeError("protoc failed; its messages are above")
        return {path.name: _adapt(path.read_text()) for path in sorted(Path(folder).iterdir())}


def _adapt(source: str) -> str:
    """Make protoc's output independent of the default descriptor pool and of the runtime's version."""
    source = re.sub(r"^from google\.protobuf import runtime_version.*\n", "", source, flags=re.M)
    source = re.sub(r"^_runtime_version\.Validate(.*\n)*?\)\n", "", source, flags=re.M)
    source = source.replace("_descriptor_pool.Default()", "POOL")
    source = source.replace(
        "from google.protobuf import descriptor_pool as _descriptor_pool\n", f"from {_PACKAGE}.pool import POOL\n"
    )
    source = re.sub(r"^# Protobuf Python Version.*\n", "", source, flags=re.M)
    source = re.sub(r"^import (\w+_pb2) as ", rf"from {_PACKAGE} import \1 as ", source, flags=re.M)
    # What protoc writes for type checkers is itself not strict.
    header = "" if "DO NOT EDIT" in source else '# mypy: disable-error-code="type-arg, no-untyped-def"\n'
    return header + source


def main() -> None:
    """Write the generated files beside their sources."""
    for name, source in generated_sources().items():
        (_HERE / name).write_text(source)


if __name__ == "__main__":
    main()
