"""The machine that measures: its kind, and its peak speed."""

from __future__ import annotations

import multiprocessing
import platform
import timeit
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Return the kind of this machine."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    flags = next((line.split(":")[1].split() for line in lines if line.startswith("flags")), [])
    return {
        "processor": next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor()),
        "cores": multiprocessing.cpu_count(),
        "vector_units": [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags],
        "python": platform.python_version(),
    }


def precisions() -> list[str]:
    """Return those of fp32, bf16 and int8 that OpenVINO computes in here; another would be a second row of fp32."""
    from transforms.engines.precisions import openvino_precision

    return [precision for precision in ("fp32", "bf16", "int8") if openvino_precision(precision) == precision]


def fastest_precision() -> str:
    """Return bf16 where the processor has it, else fp32."""
    return "bf16" if "bf16" in precisions() else "fp32"


def matrix_peaks(size: int = 2048, turns: int = 10) -> dict[str, float]:
    """GFLOP/s of square matrix multiplications, the best of some, in fp32 and bf16."""
    import torch

    peaks = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        matrix = torch.randn(size, size, dtype=dtype)
        best = min(timeit.repeat(lambda matrix=matrix: matrix @ matrix, number=1, repeat=turns))
        peaks[name] = 2 * size**3 / best / 1e9
    return peaks
