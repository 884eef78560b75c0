"""The choice of the runner, and the number of its worker processes on a machine."""

from __future__ import annotations

from apache_beam.options.pipeline_options import (
    DebugOptions,
    DirectOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.runner import PipelineRunner, create_runner

from pipeline.command_line import LOCAL_RUNNERS, PROGRAM, STREAMING_RUNNERS
from pipeline.options import NerOptions
from pipeline.process.output import report
from transforms.errors import first_line

_DIRECT = (None, "DirectRunner", "SwitchingDirectRunner", "FnApiRunner")


def batch_runner(options: PipelineOptions) -> PipelineRunner | None:
    """Return the runner of a batch run, or None if Beam should select it by its name.

    For the name DirectRunner, Beam tries Prism first, and downloads it. Prism does not support `--direct_running_mode`,
    and needs about twice the time for this program's jobs. So the name selects Beam's in-process FnApiRunner here, on
    every machine. Prism runs only if it is named.
    """
    if options.view_as(StandardOptions).runner not in _DIRECT:
        return None
    from apache_beam.portability.api import beam_provision_api_pb2
    from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo
    from apache_beam.runners.portability.portable_runner import JobServiceHandle

    from pipeline.runners.in_process import InProcessRunner

    # The workers do not need the program's own flags, and would log that they are unknown.
    own = options.view_as(NerOptions).get_all_options(current_only=True)
    given = options.get_all_options(drop_default=True)
    encoded = JobServiceHandle.encode_pipeline_options({name: given[name] for name in given if name not in own})
    info = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    return InProcessRunner(provision_info=ExtendedProvisionInfo(info))


def runs_in_this_process(options: PipelineOptions) -> bool:
    """Return whether the steps run in this process, and can use a model that is loaded here."""
    mode = options.view_as(DirectOptions).direct_running_mode
    return options.view_as(StandardOptions).runner in LOCAL_RUNNERS and mode != "multi_processing"


def processes_of_a_machine(options: PipelineOptions) -> int:
    """Return the number of worker processes that share a machine's cores; 0 means one for each core."""
    runner = options.view_as(StandardOptions).runner
    if runner == "DataflowRunner":
        # One process for each core of a worker, unless this experiment is set.
        return 1 if options.view_as(DebugOptions).lookup_experiment("no_use_multiple_sdk_containers") else 0
    if runner not in LOCAL_RUNNERS:
        # 0 leaves the number to the runner, which uses about the number of cores (Flink: all but one).
        return int(options.view_as(PortableOptions).sdk_worker_parallelism)
    direct = options.view_as(DirectOptions)
    return direct.direct_num_workers if direct.direct_running_mode == "multi_processing" else 1


def named_runner(options: PipelineOptions) -> PipelineRunner:
    """Return the runner that the flags name.

    Raises:
        ValueError: if it cannot be imported or constructed, in one sentence with the flag.
    """
    name = options.view_as(StandardOptions).runner
    try:
        return create_runner(name)
    except Exception as error:
        raise ValueError(f"--runner={name}: cannot be used: {first_line(error)}; expected another runner") from error


def streaming_runner(options: PipelineOptions) -> PipelineRunner | None:
    """Switches the options to streaming; returns the runner, or None if Beam should select it by its name.

    Raises:
        ValueError: if the runner does not support unbounded splittable steps, as listed in Beam's capability matrix.
    """
    standard = options.view_as(StandardOptions)
    if standard.runner == "SparkRunner":
        raise ValueError("--runner=SparkRunner: runs no unbounded steps; expected another runner to read from Pub/Sub")
    standard.streaming = True
    if standard.runner in STREAMING_RUNNERS:
        return BundleBasedDirectRunner()
    if standard.runner not in ("DataflowRunner", "PrismRunner"):
        report(
            f"{PROGRAM}: {standard.runner}: each message is acknowledged after its result is written, but losing"
            " nothing was shown only on the DirectRunner and on Prism (and Beam's own job server in Python never"
            " acknowledges); an end by SIGTERM is up to the runner"
        )
    return None
