"""What Dataflow is asked for beyond its usual machine: a GPU, and memory for a large model.

Other runners have the machines that they were given, and are asked for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from apache_beam.options.pipeline_options import DebugOptions, GoogleCloudOptions, StandardOptions, WorkerOptions

from pipeline.options import NerOptions
from transforms.footprint import process_bytes

_USUAL_BYTES = 3.75e9
"""Of Dataflow's usual batch worker, an n1-standard-1: one core, and so one process."""

_SYSTEM_BYTES = 1.0e9
"""What a worker needs beside its processes: its system, and Dataflow's own part."""

_PROCESSES = {"use_multiple_sdk_containers", "no_use_multiple_sdk_containers"}


def accelerator_hint(options: NerOptions, *, streaming: bool) -> dict[str, str]:
    """Asks for the GPU that the flags speak of.

    Where Dataflow takes hints, it is a hint on the model's step, so that what is not fused with it runs on cheaper
    machines. Where it takes none, a service option gives one to all workers. One process a machine then loads the
    model, unless the experiment use_multiple_sdk_containers is asked for: with a process for each core, as many copies
    of the model would share the GPU's memory.

    Returns:
        The hint for the model's step, or none.

    Raises:
        ValueError: if a GPU is needed and none is asked for, or it is asked for in two ways, or on another runner.
    """
    name, cloud = options.accelerator, options.view_as(GoogleCloudOptions)
    if options.view_as(StandardOptions).runner != "DataflowRunner":
        if name:
            raise ValueError(f"accelerator={name!r} is for Dataflow; elsewhere workers have what their machines have")
        return {}
    ways = [f"--accelerator={name}"] if name else []
    ways += [f"--{flag}={value}" for flag, value in _accelerators_of_beam(options)]
    if len(ways) > 1:
        raise ValueError(f"{' and '.join(ways)} ask for an accelerator each; give one of them")
    if not ways and options.device.startswith("cuda"):
        raise ValueError(f"device={options.device!r} needs workers with a GPU; add for example --accelerator=nvidia-l4")
    if not ways:
        return {}
    debug = options.view_as(DebugOptions)
    if not _PROCESSES & {*(debug.experiments or [])}:
        debug.add_experiment("no_use_multiple_sdk_containers")
    if not name:
        return {}
    hint = name if ":" in name else f"type:{name};count:1;install-nvidia-driver"
    if _takes_hints(options, streaming):
        return {"accelerator": hint}
    cloud.dataflow_service_options = [*(cloud.dataflow_service_options or []), f"worker_accelerator={hint}"]
    return {}


def memory_hint(options: NerOptions, config: Any, *, streaming: bool) -> dict[str, str]:
    """A `min_ram` for the model's step, where Dataflow's usual worker is too small for it.

    Hints go before the machine that is named by a flag, so there is none where one is, or where there is a GPU or a
    hint of the user's own, of which Beam would take the larger.

    Args:
        options: The flags.
        config: The model's `PretrainedConfig`.
        streaming: Whether the input has no end.
    """
    standard = options.view_as(StandardOptions)
    if standard.runner != "DataflowRunner" or not _takes_hints(options, streaming):
        return {}
    own = {hint.partition("=")[0] for hint in standard.resource_hints or []}
    machine = options.view_as(WorkerOptions).machine_type or options.accelerator
    if machine or own & {"min_ram", "minRam", "accelerator"}:
        return {}
    needed = process_bytes(config, options.engine)
    if needed is None or needed + _SYSTEM_BYTES <= _USUAL_BYTES:
        return {}
    return {"min_ram": f"{math.ceil((needed + _SYSTEM_BYTES) / 1e9)}GB"}


def _takes_hints(options: NerOptions, streaming: bool) -> bool:
    """Whether Dataflow's right fitting, which hints are for, is to be had: not with FlexRS, in streaming on request."""
    if streaming:
        return bool(options.view_as(DebugOptions).lookup_experiment("enable_streaming_rightfitting"))
    return not options.view_as(GoogleCloudOptions).flexrs_goal


def _accelerators_of_beam(options: NerOptions) -> Iterator[tuple[str, str]]:
    """Flags of Beam, with their values, that ask for an accelerator."""
    service_options = options.view_as(GoogleCloudOptions).dataflow_service_options
    lists = {
        "resource_hint": (options.view_as(StandardOptions).resource_hints, "accelerator="),
        "dataflow_service_options": (service_options, "worker_accelerator="),
        "experiments": (options.view_as(DebugOptions).experiments, "worker_accelerator="),
    }
    for flag, (values, start) in lists.items():
        yield from ((flag, value) for value in values or [] if value.startswith(start))
