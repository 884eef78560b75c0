"""The plan as tables for a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.plan.model import Assumptions, Estimate, Job, Measured
from pipeline.runners.machine_types import Prices


def as_json(
    measured: Measured, assumptions: Assumptions, prices: Prices, estimates: Sequence[Estimate], warnings: Sequence[str]
) -> dict[str, Any]:
    """Return the whole plan as values for JSON, which `--measured` can read."""
    return {
        "measured": asdict(measured),
        "assumptions": asdict(assumptions),
        "prices": asdict(prices),
        "estimates": [asdict(one) for one in estimates],
        "warnings": list(warnings),
    }


def as_tables(
    measured: Measured,
    assumptions: Assumptions,
    prices: Prices,
    jobs: Sequence[tuple[Job, Sequence[Estimate]]],
    warnings: Sequence[str],
) -> Group:
    """Return the warnings, the measurements, a table for each job, and the assumptions."""
    lines = [Text(line) for line in measured_lines(measured)]
    tables = [part for job, estimates in jobs for part in _job(job, estimates)]
    basis = [Text(line, style="dim") for line in basis_lines(assumptions, prices)]
    cautions = [Text(f"Warning: {line}", style="yellow") for line in warnings]
    return Group(*cautions, *lines, Text(), *tables, *basis)


def measured_lines(measured: Measured) -> Iterator[str]:
    """Yield the measurements in words."""
    yield (
        f"{measured.model} in {measured.precision} on {measured.engine}, {measured.processes} processes of one thread,"
        f" {measured.documents:,} documents of {measured.tokens:,.0f} tokens:"
    )
    yield (
        f"  {measured.documents_per_second:,.1f} documents a second and process, {measured.process_mib:,.0f} MiB each,"
        f" {measured.load_seconds:.0f} s to load"
    )
    yield f"  {measured.bytes_in:,.0f} bytes a document in, {measured.bytes_out:,.0f} bytes a result out"
    if measured.failures:
        yield f"  {measured.failures:,} of the documents failed"


def basis_lines(assumptions: Assumptions, prices: Prices) -> Iterator[str]:
    """Yield the assumptions and the prices in words."""
    yield (
        f"Assumed: {assumptions.startup_minutes:g} minutes until workers read, {assumptions.efficiency:.0%} of their"
        f" time spent reading, {assumptions.beam_us:g} µs a document for Beam, {assumptions.memory_share:.0%} of"
        " the memory for processes."
    )
    yield (
        f"Prices are list prices of {prices.date}, to be checked before anybody relies on them ({prices.source});"
        " --prices puts others in their place. Storage, network, BigQuery and Pub/Sub are not in them."
    )


def _job(job: Job, estimates: Sequence[Estimate]) -> Iterator[Any]:
    aim = f"{job.workers:,} workers" if job.workers else f"{job.hours:g} hours"
    first = estimates[0]
    table = Table(title_justify="left", box=None, padding=(0, 2, 0, 0))
    sizes = f"{_bytes(first.bytes_in)} of records in, {_bytes(first.bytes_out)} of JSON out"
    table.title = f"{job.documents:,} documents, {aim}: {sizes}"
    table.add_column("worker type")
    for name in ("processes", "documents/s each", "workers", "hours", "dollars"):
        table.add_column(name, justify="right")
    notes: dict[str, list[str]] = {}
    for one in estimates:
        table.add_row(*_row(one))
        for note in filter(None, (one.speed.note, *one.notes)):
            notes.setdefault(note, []).append(one.worker)
    yield table
    for note, workers in notes.items():
        yield Text(f"  {', '.join(workers)}: {note}", style="dim")
    yield Text()


def _row(one: Estimate) -> tuple[str, ...]:
    speed = one.speed
    if speed.documents_per_second is None or one.workers is None or one.hours is None or one.dollars is None:
        return one.worker, *["–"] * 5
    processes = f"{speed.processes} × {speed.threads}" if speed.processes else "–"
    rate = f"{speed.documents_per_second:,.0f}"
    return one.worker, processes, rate, f"{one.workers:,}", f"{one.hours:,.1f}", f"{one.dollars:,.2f}"


def _bytes(size: float) -> str:
    """Return a size with three significant digits, in the unit that leaves one to three digits before the point.

    >>> _bytes(999), _bytes(123_456_789), _bytes(4e16)
    ('999 B', '123 MB', '40 PB')
    """
    units = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
    power = 0
    while size >= 999.5 and power < len(units) - 1:
        size, power = size / 1000, power + 1
    return f"{size:.3g} {units[power]}"
