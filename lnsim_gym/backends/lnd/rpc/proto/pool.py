"""The private descriptor pool that holds our messages, apart from any copy of LND's protos in the same process."""

from __future__ import annotations

from typing import Final

from google.protobuf.descriptor_pool import DescriptorPool

__all__ = ["POOL"]

POOL: Final = DescriptorPool()
