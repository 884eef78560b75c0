"""The arithmetic of a plan, against figures calculated by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.plan.model import (
    Assumptions,
    Job,
    Measured,
    dollars_an_hour,
    estimate,
    hours_of,
    processes_that_fit,
    speed_of,
    useful_workers,
    workers_of,
)
from pipeline.runners.machine_types import Catalogue, Prices, WorkerType

MEASURED = Measured(
    documents=1000, failures=0, processes=2, documents_per_second=100.0, process_mib=1000.0, load_seconds=3.0,
    tokens=60.0, bytes_in=400.0, bytes_out=600.0, model="rampart", engine="openvino", precision="fp32",
)  # fmt: skip
ASSUMED = Assumptions(
    startup_minutes=6.0, efficiency=0.5, beam_us=0.0, memory_share=0.8, thread_efficiency=0.5, disk_gib=0.0, part_bytes=None,
    shuffled=2.0,
)  # fmt: skip
ROOMY = WorkerType("roomy-8", 8, 32.0, bf16=False)
TIGHT = WorkerType("tight-8", 8, 8.0, bf16=True)
TINY = WorkerType("tiny-2", 2, 1.0)
GPU = WorkerType("gpu-4", 4, 16.0, accelerator="l9")
PRICES = Prices(0.05, 0.01, 0.001, 0.0, {"l9": 1.0}, "2026-01-01", "nowhere")
CATALOGUE = Catalogue({kind.name: kind for kind in (ROOMY, TIGHT, TINY, GPU)}, PRICES, 20)


@pytest.mark.parametrize(
    ("worker", "process_mib", "expected"),
    [
        # 80 % of 32 GiB are 26,214 MiB.
        (ROOMY, 1000, (8, 1)),
        (ROOMY, 3276, (8, 1)),  # 26,208
        (ROOMY, 3277, (1, 8)),  # 26,216
        (ROOMY, 26_214, (1, 8)),
        (ROOMY, 26_215, (0, 0)),
        (TIGHT, 1000, (1, 8)),  # 6,553 MiB
        (TINY, 1000, (0, 0)),  # 819 MiB
    ],
)
def test_processes_that_fit(worker: WorkerType, process_mib: float, expected: tuple[int, int]) -> None:
    assert processes_that_fit(worker, process_mib, 0.8) == expected


@pytest.mark.parametrize(
    ("worker", "changes", "ratios", "rates", "expected", "note"),
    [
        (ROOMY, {}, {}, {}, 800.0, "as fast as one here"),  # 8 processes of 100
        (ROOMY, {"beam_us": 10_000.0}, {}, {}, 400.0, ""),  # 10 ms for the model and 10 for Beam: 50 a process
        (ROOMY, {}, {"roomy": 2.0}, {}, 1600.0, ""),
        (ROOMY, {}, {"roomy": 2.0, "roomy-8": 3.0}, {}, 2400.0, ""),  # the type's own before its family's
        (ROOMY, {}, {"roomy": 2.0}, {"roomy-8": 7.0}, 7.0, "given"),
        (TIGHT, {}, {}, {}, 400.0, "no_use_multiple_sdk_containers"),  # 8 threads of 100, at half
        (TINY, {}, {}, {}, None, "takes 1.0 GiB; tight-8 has room"),
        (GPU, {}, {}, {}, None, "--rates"),
        (GPU, {}, {}, {"gpu-4": 900.0}, 900.0, "given"),
    ],
)
def test_speed(worker: WorkerType, changes: Any, ratios: Any, rates: Any, expected: float | None, note: str) -> None:
    speed = speed_of(worker, MEASURED, replace(ASSUMED, **changes), CATALOGUE, ratios=ratios, rates=rates)
    assert speed.documents_per_second == (expected if expected is None else pytest.approx(expected))
    assert note in speed.note


@pytest.mark.parametrize(("worker", "known"), [(ROOMY, False), (TIGHT, True)])
def test_bf16_is_not_taken_to_processors_without_it(worker: WorkerType, known: bool) -> None:
    speed = speed_of(worker, replace(MEASURED, precision="bf16"), ASSUMED, CATALOGUE, ratios={}, rates={})
    assert (speed.documents_per_second is not None) == known
    assert known or "--core_ratio roomy=" in speed.note


def test_a_model_for_which_no_type_is_large_enough() -> None:
    # 100,000 MiB at 80 % of the memory want 122 GiB.
    speed = speed_of(ROOMY, replace(MEASURED, process_mib=100_000), ASSUMED, CATALOGUE, ratios={}, rates={})
    assert "a type with 122 GiB" in speed.note


@pytest.mark.parametrize(
    ("documents", "bytes_in", "processes", "part_bytes", "expected"),
    [
        (1000, 400, 8, None, 125),
        (10, 400, 8, None, 2),
        (1, 400, 8, None, 1),
        (1000, 400, 8, 100_000, 1),  # 400,000 bytes are 4 parts
        (1000, 400, 8, 10_000, 5),  # 40 parts
        (10, 1_000_000, 8, 1000, 2),  # 10,000 parts, but of 10 documents
        (1000, 400, 0, 10_000, 40),  # a rate that was given says nothing of processes
    ],
)
def test_useful_workers(documents: int, bytes_in: float, processes: int, part_bytes: int | None, expected: int) -> None:
    assert useful_workers(documents, bytes_in, processes, part_bytes) == expected


def test_hours() -> None:
    # At 800 a second, half of the time: 400. 1,440,000 documents take an hour, after 0.1 hours of start.
    assert hours_of(1_440_000, 1, 800, ASSUMED) == pytest.approx(1.1)
    assert hours_of(1_440_000, 4, 800, ASSUMED) == pytest.approx(0.35)


@pytest.mark.parametrize(
    ("documents", "hours", "expected"),
    # In 2.1 hours a worker reads for two: 2,880,000 documents.
    [(14_400_000, 2.1, 5), (14_400_001, 2.1, 6), (1, 2.1, 1)],
)
def test_workers(documents: int, hours: float, expected: int) -> None:
    assert workers_of(documents, hours, 800, ASSUMED) == expected


def test_a_deadline_before_the_start() -> None:
    with pytest.raises(ValueError, match=r"^--hours=0.1: too short; expected longer than .* --startup_minutes=6$"):
        workers_of(1, 0.1, 800, ASSUMED)


def test_dollars() -> None:
    assert dollars_an_hour(ROOMY, PRICES, 100) == pytest.approx(0.4 + 0.32 + 0.1)
    assert dollars_an_hour(GPU, PRICES, 0) == pytest.approx(0.2 + 0.16 + 1.0)
    with pytest.raises(ValueError, match="no price of 'l9'; expected one"):
        dollars_an_hour(GPU, replace(PRICES, accelerator_hour={}), 0)


def planned(job: Job, worker: WorkerType = ROOMY, catalogue: Catalogue = CATALOGUE, **changes: Any) -> Any:
    return estimate(job, worker, MEASURED, catalogue, replace(ASSUMED, **changes), ratios={}, rates={})


def test_by_deadline() -> None:
    one = planned(Job(14_400_000, 2.1))
    assert (one.workers, one.hours) == (5, pytest.approx(2.1))
    assert one.dollars == pytest.approx(5 * 2.1 * 0.72)
    assert (one.bytes_in, one.bytes_out, one.notes) == (5.76e9, 8.64e9, ())


def test_by_workers() -> None:
    one = planned(Job(14_400_000, 24.0, workers=10))
    assert (one.workers, one.hours) == (10, pytest.approx(1.1))


def test_shuffled_documents_are_paid_for_and_parts_are_not() -> None:
    priced = replace(CATALOGUE, prices=replace(PRICES, shuffle_gib=1.0))
    job = Job(14_400_000, 2.1)
    # 5.76 GB are 5.364 GiB, and a document is twice its record.
    assert planned(job, catalogue=priced).dollars == pytest.approx(5 * 2.1 * 0.72 + 2 * 5.36442, abs=1e-4)
    assert planned(job, catalogue=priced, part_bytes=1024).dollars == pytest.approx(5 * 2.1 * 0.72)


def test_more_workers_than_documents() -> None:
    one = planned(Job(10, 24.0, workers=50))
    assert one.workers == 2
    assert one.notes == ("50 workers are more than find work: the input is parts for 2",)


def test_a_deadline_for_which_the_parts_are_too_few() -> None:
    # Eight parts, which is one worker: 36 hours of reading.
    one = planned(Job(51_840_000, 2.1), part_bytes=2_592_000_000)
    assert (one.workers, one.hours) == (1, pytest.approx(36.1))
    assert "so 2.1 hours are too few" in one.notes[0]


def test_more_workers_than_a_job_may_have() -> None:
    # 144 million documents in 2.1 hours want 50 workers, and a job may have 20.
    (note,) = planned(Job(144_000_000, 2.1)).notes
    assert note == "a job may have 20 workers; split the input over 3 jobs"


def test_nothing_is_estimated_without_a_speed() -> None:
    one = planned(Job(1000, 2.1), TINY)
    assert (one.workers, one.hours, one.dollars, one.bytes_in) == (None, None, None, 400_000)
