"""The generated protocol code, and the table of RPCs over it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lnsim_gym.backends.lnd.rpc import calls as rpc
from lnsim_gym.backends.lnd.rpc import proto
from lnsim_gym.backends.lnd.rpc.proto import invoices_pb2, lightning_pb2, router_pb2
from lnsim_gym.backends.lnd.rpc.proto.generate import generated_sources


def test_the_committed_code_is_what_the_proto_files_generate():
    folder = Path(proto.__file__).parent
    for name, source in generated_sources().items():
        assert (folder / name).read_text() == source, f"run python -m {proto.__name__}.generate"


@pytest.mark.parametrize("method", rpc.METHODS, ids=lambda method: method.path)
def test_every_rpc_has_the_types_its_service_declares(method):
    service_name, name = method.path.removeprefix("/").split("/")
    files = (lightning_pb2, router_pb2, invoices_pb2)
    services = {s.full_name: s for file in files for s in file.DESCRIPTOR.services_by_name.values()}
    declared = services[service_name].methods_by_name[name]
    assert declared.input_type is method.request.DESCRIPTOR
    assert declared.output_type is method.answer.DESCRIPTOR


def test_messages_live_beside_another_copy_of_lnds_protos():
    program = (
        "from google.protobuf import descriptor_pb2, descriptor_pool\n"
        "file = descriptor_pb2.FileDescriptorProto(name='lightning.proto', package='lnrpc', syntax='proto3')\n"
        "file.message_type.add(name='Channel')\n"
        "descriptor_pool.Default().Add(file)\n"
        "from lnsim_gym.backends.lnd.rpc.proto import lightning_pb2, router_pb2\n"
        "print(lightning_pb2.Channel(chan_id=7).chan_id)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "7\n", done.stderr
