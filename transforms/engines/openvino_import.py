"""The import of OpenVINO, without its telemetry."""

from __future__ import annotations

import sys
from typing import Any


def import_openvino() -> Any:
    """Return the module `openvino`, imported without `openvino_telemetry`.

    That package reports the import and each conversion to Google Analytics, from a process that it forks at any time.
    OpenVINO works without it. Nothing else in the process is affected. An `openvino` that was imported before does not
    change, and `openvino_telemetry` can be imported afterwards.
    """
    is_loaded = "openvino_telemetry" in sys.modules
    if not is_loaded:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # makes its import fail
    try:
        import openvino
    finally:
        if not is_loaded:
            del sys.modules["openvino_telemetry"]
    return openvino
