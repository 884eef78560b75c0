"""What Dataflow is asked for beyond its usual: a GPU, memory for a large model, and processes that have room in it.

Other runners have the machines that they were given, and are asked for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from apache_beam.options.pipeline_options import DebugOptions, GoogleCloudOptions, StandardOptions, WorkerOptions

from pipeline.options import NerOptions
from pipeline.runners.machine_types import Catalogue
from transforms.engines.memory import count_parameters, machine_bytes

_USUAL_MACHINES = {False: "n1-standard-1", True: "n1-standard-2"}
"""What workers are where no flag says it, in batch and in streaming (with Streaming Engine)."""

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
            raise ValueError(f"--accelerator={name!r} is for Dataflow; elsewhere workers have what their machines have")
        return {}
    ways = [f"--accelerator={name}"] if name else []
    ways += [f"--{flag}={value}" for flag, value in _accelerators_of_beam(options)]
    if len(ways) > 1:
        raise ValueError(f"{' and '.join(ways)} ask for an accelerator each; give one of them")
    if not ways and options.device.startswith("cuda"):
        raise ValueError(f"--device={options.device!r} needs workers with a GPU; add, say, --accelerator=nvidia-l4")
    if not ways:
        return {}
    _ask_for_one_process(options)
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

    A hint asks for a worker's memory, and not how many cores it has. Where a process for each core would not have room,
    on a worker with a hint or on the machine that is named, one process is asked for, which has all cores.

    Args:
        options: The flags.
        config: The model's `PretrainedConfig`.
        streaming: Whether the input has no end.
    """
    if options.view_as(StandardOptions).runner != "DataflowRunner":
        return {}
    machine = options.view_as(WorkerOptions).machine_type or _USUAL_MACHINES[streaming]
    parameters = count_parameters(config)
    if parameters is None or _has_room(machine, parameters, options.engine):
        return {}
    _ask_for_one_process(options)
    if options.view_as(WorkerOptions).machine_type or options.accelerator or not _takes_hints(options, streaming):
        return {}
    own = {hint.partition("=")[0] for hint in options.view_as(StandardOptions).resource_hints or []}
    if own & {"min_ram", "minRam", "accelerator"}:
        return {}
    needed = machine_bytes(parameters, options.engine) + _SYSTEM_BYTES
    return {"min_ram": f"{math.ceil(needed / 1e9)}GB"}


def _has_room(machine: str, parameters: int, engine: str) -> bool:
    """Whether a machine has memory for a process a core; of one that is not known, that is taken for granted."""
    worker = Catalogue.load().like(machine)
    if worker is None:
        return True
    return machine_bytes(parameters, engine, worker.vcpus) + _SYSTEM_BYTES <= worker.memory_gib * 1024**3


def _ask_for_one_process(options: NerOptions) -> None:
    """Has each worker start one process, unless the flags say how many it starts."""
    debug = options.view_as(DebugOptions)
    if not _PROCESSES & {*(debug.experiments or [])}:
        debug.add_experiment("no_use_multiple_sdk_containers")


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
