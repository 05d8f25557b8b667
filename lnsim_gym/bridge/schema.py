"""The JSON Schema of all messages, generated from ``messages`` and shipped as ``schema.json``.

``python -m lnsim_gym.bridge.schema`` rewrites the file.
"""

from __future__ import annotations

import json
from inspect import cleandoc
from pathlib import Path
from typing import Any, Final

import msgspec

from lnsim_gym.bridge.messages import INBOUND, OUTBOUND, SCHEMA

__all__ = ["SCHEMA_FILE", "make_schema", "schema_json"]

SCHEMA_FILE: Final = Path(__file__).with_name("schema.json")
"""Where the schema lies."""


def make_schema() -> dict[str, Any]:
    """Generate the schema: valid is every message the bridge sends; those it accepts are under ``$defs/inbound``."""
    sent, components = msgspec.json.schema_components(OUTBOUND)
    accepted, inbound = msgspec.json.schema_components(INBOUND)
    for definition in components.values():
        # Fields with a fixed value have defaults in the code, but are always sent.
        definition["required"] = list(definition["properties"])
    for definition in (*components.values(), *inbound.values()):
        if "description" in definition:  # docstrings, which not every version of msgspec rids of their indentation
            definition["description"] = cleandoc(definition["description"])
    definitions = {**components, **inbound, "inbound": {"anyOf": list(accepted)}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": SCHEMA,
        "description": "Messages of the lnsim bridge. Amounts and balances are integers in sat unless named otherwise.",
        "anyOf": list(sent),
        "$defs": definitions,
    }


def schema_json() -> bytes:
    """Return the schema file."""
    return SCHEMA_FILE.read_bytes()


if __name__ == "__main__":
    SCHEMA_FILE.write_text(json.dumps(make_schema(), indent=1) + "\n", encoding="utf-8")
