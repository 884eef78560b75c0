"""Calculates a job from a measured core, with pure functions of numbers; docs/scale.md explains the formulae."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.runners.machine_types import Catalogue, Prices, WorkerType

_GIB = 1024**3
_HOUR = 3600.0


@dataclass(frozen=True)
class Measured:
    """The measurements of a machine on a sample, with a process of one thread on each core.

    Attributes:
        documents: Number of documents in the sample.
        failures: Number of documents in it without a result.
        processes: Number of processes that ran at the same time.
        documents_per_second: Rate of one process, from record to JSON line, without Beam.
        process_mib: Peak memory of the largest process, in MiB.
        load_seconds: Time from the start of a process to its model's first result.
        tokens: Mean tokens of a document.
        bytes_in: Mean bytes of a document's record.
        bytes_out: Mean bytes of a result as JSON.
        model: The model's name.
        engine: The name of the engine.
        precision: The precision that the engine computed in; the flags may request another.
    """

    documents: int
    failures: int
    processes: int
    documents_per_second: float
    process_mib: float
    load_seconds: float
    tokens: float
    bytes_in: float
    bytes_out: float
    model: str
    engine: str
    precision: str


@dataclass(frozen=True)
class Assumptions:
    """Assumptions that are not measured here, and can be set.

    Attributes:
        startup_minutes: Minutes from the submission of a job until its workers read; they are paid for.
        efficiency: Share of the workers' time in which they read. Time is lost at the end, when some workers are
            idle, and when workers fail.
        beam_us: Microseconds of a core that Beam needs for each document; docs/scale.md explains the value.
        memory_share: Share of a worker's memory for processes; the rest is for the system and Dataflow.
        thread_efficiency: Speed of one process with a thread for each core, relative to one process for each core.
        disk_gib: Disk of a worker, in GiB.
        part_bytes: Bytes of input that a process reads at a time; None if documents are redistributed one by one.
        shuffled: Bytes in the shuffle for each byte of a record, if documents are redistributed. Both the text and
            the record are shuffled.
    """

    startup_minutes: float = 5.0
    efficiency: float = 0.85
    beam_us: float = 45.0
    memory_share: float = 0.8
    thread_efficiency: float = 0.8
    disk_gib: float = 25.0
    part_bytes: int | None = None
    shuffled: float = 2.2


@dataclass(frozen=True)
class Job:
    """The job: a number of documents, by a deadline or with a number of workers.

    Attributes:
        documents: Number of documents.
        hours: The deadline, in hours after the submission.
        workers: Number of workers; None calculates it from `hours`.
    """

    documents: int
    hours: float
    workers: int | None = None


@dataclass(frozen=True)
class Speed:
    """The speed of one worker.

    Attributes:
        documents_per_second: Rate of the whole worker; None if it is not known, or the model does not fit.
        processes: Number of processes; 0 if the rate was given for the whole worker.
        threads: Number of threads of each process.
        note: A note for the user; may be empty.
    """

    documents_per_second: float | None
    processes: int = 0
    threads: int = 0
    note: str = ""


@dataclass(frozen=True)
class Estimate:
    """The estimate of a job on one worker type.

    Attributes:
        worker: Name of the worker type.
        documents: Number of documents of the job.
        speed: The speed of one worker.
        workers: Number of workers; None if the speed is not known.
        hours: Hours from the submission to the end; None if the speed is not known.
        dollars: Cost of the workers and the shuffle; None if the speed is not known.
        bytes_in: Bytes of the input, as records.
        bytes_out: Bytes of the results, as JSON.
        notes: Limits of the job, for the user.
    """

    worker: str
    documents: int
    speed: Speed
    workers: int | None
    hours: float | None
    dollars: float | None
    bytes_in: float
    bytes_out: float
    notes: tuple[str, ...] = field(default=())


def processes_that_fit(worker: WorkerType, process_mib: float, memory_share: float) -> tuple[int, int]:
    """Return the processes of a worker and the threads of each: a process for each core, or one process for all.

    Dataflow offers only these two ways.

    >>> processes_that_fit(WorkerType("x", 8, 32), 1000, 0.8), processes_that_fit(WorkerType("x", 8, 8), 1000, 0.8)
    ((8, 1), (1, 8))

    Returns:
        The numbers of processes and threads; (0, 0) if the model does not fit.
    """
    room_mib = worker.memory_gib * 1024 * memory_share
    if worker.vcpus * process_mib <= room_mib:
        return worker.vcpus, 1
    return (1, worker.vcpus) if process_mib <= room_mib else (0, 0)


def speed_of(
    worker: WorkerType,
    measured: Measured,
    assumptions: Assumptions,
    catalogue: Catalogue,
    *,
    ratios: Mapping[str, float],
    rates: Mapping[str, float],
) -> Speed:
    """Return a worker's speed, from its own measured rate or from a core of this machine.

    Args:
        worker: The worker type.
        measured: The measurements of this machine.
        assumptions: The values that are not measured.
        catalogue: The worker types among which a larger one is searched if the model does not fit.
        ratios: Speed of a core relative to one of this machine, by worker type or family.
        rates: Documents a second of whole workers, by worker type.
    """
    if worker.name in rates:
        return Speed(rates[worker.name], note="at the rate that was given")
    if worker.accelerator:
        return Speed(None, note="a GPU's rate cannot be had from a core's; measure it there and give it with --rates")
    ratio = ratios.get(worker.name, ratios.get(worker.family))
    if ratio is None and measured.precision == "bf16" and not worker.bf16:
        # A core without instructions for bf16 may be several times slower, or equally fast.
        way = f"measure it there, or give --core_ratio {worker.family}=…"
        return Speed(
            None,
            note=f"its speed in bf16 cannot be had from here; {way}",
        )
    processes, threads = processes_that_fit(worker, measured.process_mib, assumptions.memory_share)
    if not processes:
        return Speed(None, note=_too_small(measured.process_mib, assumptions.memory_share, catalogue))
    core = (ratio or 1.0) / (1 / measured.documents_per_second + assumptions.beam_us / 1e6)
    note = "" if ratio else "a core as fast as one here"
    if threads == 1:
        return Speed(processes * core, processes, threads, note)
    alone = "a process a core does not fit; with --experiments=no_use_multiple_sdk_containers"
    rate = threads * core * assumptions.thread_efficiency
    return Speed(rate, processes, threads, "; ".join(filter(None, [alone, note])))


def _too_small(process_mib: float, memory_share: float, catalogue: Catalogue) -> str:
    fitting = [
        worker
        for worker in catalogue.workers.values()
        if not worker.accelerator and processes_that_fit(worker, process_mib, memory_share)[0]
    ]
    needed = process_mib / 1024 / memory_share
    larger = f"{min(fitting, key=_size).name} has room" if fitting else f"a type with {needed:.0f} GiB would have room"
    return f"the model does not fit: a process takes {process_mib / 1024:.1f} GiB; {larger}"


def _size(worker: WorkerType) -> tuple[float, str]:
    return worker.memory_gib, worker.name


def useful_workers(documents: int, bytes_in: float, processes: int, part_bytes: int | None) -> int:
    """Return the largest number of workers that can all be busy.

    The input is distributed in parts, or document by document if there are no parts.

    >>> useful_workers(1_000_000, 400, 8, 8 * 1024 * 1024)
    6
    """
    parts = documents if part_bytes is None else math.ceil(documents * bytes_in / part_bytes)
    return max(1, math.ceil(min(documents, parts) / max(1, processes)))


def hours_of(documents: int, workers: int, documents_per_second: float, assumptions: Assumptions) -> float:
    """Return the hours from the submission to the end: the start of workers, and reading at the rate of all workers."""
    reading = documents / (workers * documents_per_second * assumptions.efficiency) / _HOUR
    return assumptions.startup_minutes / 60 + reading


def workers_of(documents: int, hours: float, documents_per_second: float, assumptions: Assumptions) -> int:
    """Return the smallest number of workers that finish within the hours.

    Raises:
        ValueError: if the hours are not longer than the start of the workers.
    """
    reading = hours - assumptions.startup_minutes / 60
    if reading <= 0:
        raise ValueError(
            f"--hours={hours:g}: too short; expected longer than the start of workers, which is"
            f" --startup_minutes={assumptions.startup_minutes:g}"
        )
    return max(1, math.ceil(documents / (documents_per_second * assumptions.efficiency * reading * _HOUR)))


def dollars_an_hour(worker: WorkerType, prices: Prices, disk_gib: float) -> float:
    """Return the cost of a worker in dollars an hour.

    Raises:
        ValueError: if its accelerator has no price.
    """
    dollars = worker.vcpus * prices.vcpu_hour + worker.memory_gib * prices.memory_gib_hour
    dollars += disk_gib * prices.disk_gib_hour
    if worker.accelerator is None:
        return dollars
    if worker.accelerator not in prices.accelerator_hour:
        raise ValueError(f"--prices: no price of {worker.accelerator!r}; expected one for {worker.name}")
    return dollars + prices.accelerator_hour[worker.accelerator]


def estimate(
    job: Job,
    worker: WorkerType,
    measured: Measured,
    catalogue: Catalogue,
    assumptions: Assumptions,
    *,
    ratios: Mapping[str, float],
    rates: Mapping[str, float],
) -> Estimate:
    """Return the estimate of a job on workers of one type.

    Raises:
        ValueError: if the deadline is too early for any number of workers, or a price is missing.
    """
    speed = speed_of(worker, measured, assumptions, catalogue, ratios=ratios, rates=rates)
    bytes_in, bytes_out = job.documents * measured.bytes_in, job.documents * measured.bytes_out
    rate = speed.documents_per_second
    if rate is None:
        return Estimate(worker.name, job.documents, speed, None, None, None, bytes_in, bytes_out)
    wanted = job.workers or workers_of(job.documents, job.hours, rate, assumptions)
    useful = useful_workers(job.documents, measured.bytes_in, speed.processes, assumptions.part_bytes)
    workers = min(wanted, useful)
    hours = hours_of(job.documents, workers, rate, assumptions)
    dollars = workers * hours * dollars_an_hour(worker, catalogue.prices, assumptions.disk_gib)
    if assumptions.part_bytes is None:
        dollars += bytes_in * assumptions.shuffled / _GIB * catalogue.prices.shuffle_gib
    notes = _notes(job, wanted, useful, hours, catalogue)
    return Estimate(worker.name, job.documents, speed, workers, hours, dollars, bytes_in, bytes_out, notes)


def _notes(job: Job, wanted: int, useful: int, hours: float, catalogue: Catalogue) -> tuple[str, ...]:
    notes = []
    if wanted > useful:
        late = "" if job.workers else f", so {job.hours:g} hours are too few"
        notes.append(f"{wanted:,} workers are more than find work: the input is parts for {useful:,}{late}")
    if min(wanted, useful) > catalogue.workers_a_job:
        jobs = math.ceil(min(wanted, useful) / catalogue.workers_a_job)
        notes.append(f"a job may have {catalogue.workers_a_job:,} workers; split the input over {jobs:,} jobs")
    return tuple(notes)
