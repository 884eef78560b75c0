"""Readers of what the program writes, for tests."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from pipeline.io.pubsub.write import has_payload_as_data


def window_files(prefix: str, suffix: str) -> list[Path]:
    """The files of a stream's windows: on time, early and late."""
    folder, name = Path(prefix).parent, Path(prefix).name
    return sorted(folder.glob(f"{name}-????????T??????Z-????????T??????Z*-?????-of-?????{suffix}"))


def failure_payload(data: bytes, attributes: Mapping[str, str]) -> bytes:
    """The original bytes of the record in a message of a dead letter."""
    return data if has_payload_as_data(attributes) else base64.b64decode(json.loads(data)["payloadBytes"])
