"""Requests resources from Dataflow beyond its defaults: a GPU, memory for a large model, and fewer processes.

Other runners use machines that exist already, so nothing is requested from them.
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
"""The default machine types of workers, in batch (False) and in streaming with Streaming Engine (True)."""

_SYSTEM_BYTES = 1.0e9
"""The memory of a worker that is not for its processes: its system, and Dataflow's own services."""

_PROCESSES = {"use_multiple_sdk_containers", "no_use_multiple_sdk_containers"}


def accelerator_hint(options: NerOptions, *, streaming: bool) -> dict[str, str]:
    """Requests the GPU that the flags name.

    If the job supports hints, the GPU is a hint on the model's step: steps that are not fused with it run on cheaper
    machines. Otherwise a service option requests a GPU for all workers. In both cases one process on each machine
    loads the model, unless the flags set the number of processes. With a process for each core, as many copies of
    the model would share the GPU's memory.

    Returns:
        The hint for the model's step; empty if there is none.

    Raises:
        ValueError: if a GPU is needed but not requested, or requested in two ways, or on another runner.
    """
    name, cloud = options.accelerator, options.view_as(GoogleCloudOptions)
    if options.view_as(StandardOptions).runner != "DataflowRunner":
        if name:
            raise ValueError(f"--accelerator={name!r}: only for Dataflow; expected none on another runner")
        return {}
    ways = [f"--accelerator={name}"] if name else []
    ways += [f"--{flag}={value}" for flag, value in _accelerators_of_beam(options)]
    if len(ways) > 1:
        raise ValueError(f"{' and '.join(ways)} each request an accelerator; expected one of them")
    if not ways and options.device.startswith("cuda"):
        raise ValueError(
            f"--device={options.device!r}: requires workers with a GPU; expected, for example, --accelerator=nvidia-l4"
        )
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
    """Return a `min_ram` hint for the model's step if Dataflow's default worker is too small for it.

    There is no hint if a flag names a machine type, since hints take precedence over it. There is none with a GPU, and
    none with a memory hint of the user: Beam would use the larger of the two.

    A hint sets a worker's memory, but not its number of cores. If a process for each core does not fit into memory,
    each worker starts one process, which uses all cores. This is also so on a machine type named by a flag.

    Args:
        options: The flags.
        config: The model's `PretrainedConfig`.
        streaming: Whether the input is a stream.
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
    """Return whether a machine type has memory for one process for each core; True for an unknown type."""
    worker = Catalogue.load().like(machine)
    if worker is None:
        return True
    return machine_bytes(parameters, engine, worker.vcpus) + _SYSTEM_BYTES <= worker.memory_gib * 1024**3


def _ask_for_one_process(options: NerOptions) -> None:
    """Makes each worker start one process, unless the flags set the number of processes."""
    debug = options.view_as(DebugOptions)
    if not _PROCESSES & {*(debug.experiments or [])}:
        debug.add_experiment("no_use_multiple_sdk_containers")


def _takes_hints(options: NerOptions, streaming: bool) -> bool:
    """Return whether Dataflow's right fitting, which applies hints, is available.

    A batch job has it without FlexRS, and a streaming job with an experiment.
    """
    if streaming:
        return bool(options.view_as(DebugOptions).lookup_experiment("enable_streaming_rightfitting"))
    return not options.view_as(GoogleCloudOptions).flexrs_goal


def _accelerators_of_beam(options: NerOptions) -> Iterator[tuple[str, str]]:
    """Yield Beam's flags that request an accelerator, with their values."""
    service_options = options.view_as(GoogleCloudOptions).dataflow_service_options
    lists = {
        "resource_hint": (options.view_as(StandardOptions).resource_hints, "accelerator="),
        "dataflow_service_options": (service_options, "worker_accelerator="),
        "experiments": (options.view_as(DebugOptions).experiments, "worker_accelerator="),
    }
    for flag, (values, start) in lists.items():
        yield from ((flag, value) for value in values or [] if value.startswith(start))
