"""The command line of the plan."""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import warnings as python_warnings
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from apache_beam.options.pipeline_options import GoogleCloudOptions
from rich.console import Console

from pipeline.command_line import Parser, parse
from pipeline.config import NerConfig
from pipeline.io.files.formats.registry import shard_bytes_of
from pipeline.options import NerOptions
from pipeline.places import Files
from pipeline.plan.measure import measure, read_sample
from pipeline.plan.model import Assumptions, Job, Measured, estimate
from pipeline.plan.report import as_json, as_tables
from pipeline.process.output import report, show
from pipeline.runners.machine_types import Catalogue, number, read_object, read_rates
from transforms.engines.precisions import shortfall

PROGRAM = "beam-ner-plan"
_DOCUMENTS = (10**6, 10**9, 10**12)
_TYPES = "e2-standard-8,n2-standard-8,c3-standard-8,c4-standard-8,g2-standard-4"
_DESCRIPTION = """Measures this machine on a sample of the input, and says how many workers, hours and dollars a large
run takes on Dataflow. Nothing is written, and no text is shown. A --query is run, all of it, for the sample."""
_EPILOG = """All other flags are those of the program (python -m pipeline --help), --input, --model and --precision
above all; --output may be left out."""

T = TypeVar("T", int, float)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the plan.

    Args:
        argv: Arguments without the program's name; None uses those of the process.

    Returns:
        0, or 2 for a mistake in the flags, which is reported in one sentence.
    """
    logging.basicConfig(level=logging.ERROR)
    python_warnings.simplefilter("ignore")
    try:
        arguments, rest = _parser().parse_known_args(argv)
        catalogue = Catalogue.load(arguments.prices)
        types = catalogue.types(arguments.worker_types)
        ratios = _ratios(arguments.core_ratio)
        rates = read_rates(arguments.rates) if arguments.rates else {}
        for name in rates:
            catalogue.types(name)
        jobs = _jobs(arguments)
        measured, part_bytes, warnings = _measured(arguments, rest)
        assumptions = Assumptions(
            startup_minutes=arguments.startup_minutes,
            efficiency=arguments.efficiency,
            beam_us=arguments.beam_us,
            part_bytes=part_bytes,
        )
        planned = [
            (job, [estimate(job, kind, measured, catalogue, assumptions, ratios=ratios, rates=rates) for kind in types])
            for job in jobs
        ]
    except ValueError as error:
        report(f"{PROGRAM}: error: {error}")
        return 2
    if arguments.json:
        estimates = [one for _, of_job in planned for one in of_job]
        show(json.dumps(as_json(measured, assumptions, catalogue.prices, estimates, warnings), indent=1))
    else:
        tables = as_tables(measured, assumptions, catalogue.prices, planned, warnings)
        console = Console(highlight=False, soft_wrap=True)
        with console.capture() as shown:
            console.print(tables)
        show(shown.get().removesuffix("\n"))
    return 0


def _measured(arguments: argparse.Namespace, rest: list[str]) -> tuple[Measured, int | None, list[str]]:
    """Return the measurements of a core, the bytes of an input part (see `_part_bytes`), and warnings."""
    if arguments.measured:
        if rest:
            raise ValueError(f"{rest[0]}: only for measuring; expected none with --measured={arguments.measured}")
        return read_measured(arguments.measured)
    with tempfile.TemporaryDirectory() as folder:
        # The program's configuration needs an output, although a plan writes nothing.
        given = any(flag == "--output" or flag.startswith("--output=") for flag in rest)
        flags = rest if given else [*rest, f"--output={folder}/entities"]
        options = parse(flags)
        config = NerConfig.from_options(options.view_as(NerOptions))
    sample = read_sample(config, arguments.sample_documents, options.view_as(GoogleCloudOptions).project)
    found = []
    if len(sample.documents) < arguments.sample_documents:
        found.append(
            f"--sample_documents={arguments.sample_documents:,}: the input contains {len(sample.documents):,}"
            " documents, so that the figures are less exact"
        )
    if sample.failures:
        found.append(f"{sample.failures:,} records cannot be read; they would go to the dead letter")

    measured = measure(config, sample.documents, seconds=arguments.sample_seconds)
    asked = config.model.precision
    problem = shortfall(asked, name=measured.engine, device="cpu", computed=measured.precision)
    if problem and asked != "auto":
        found.append(f"--{problem}; worker types with {asked} may be faster than this plan")
    return measured, _part_bytes(config), found


def _part_bytes(config: NerConfig) -> int | None:
    """Return the bytes of input that a worker reads at a time, or None if documents are redistributed one by one."""
    if not isinstance(config.input, Files) or config.coarse:
        return None
    return shard_bytes_of(config.input.path, config.input_format)


def read_measured(path: Path) -> tuple[Measured, int | None, list[str]]:
    """Read the measurements of an earlier plan, on any machine, from its JSON.

    Raises:
        ValueError: if the file is not such JSON, in one sentence with the flag `--measured`.
    """
    try:
        plan = read_object(path)
        values = plan.get("measured")
        known: dict[str, Any] = {one.name: one.type for one in fields(Measured)}
        if not isinstance(values, dict) or set(values) != set(known):
            raise ValueError("not a plan")
        for name in ("documents", "processes", "documents_per_second", "process_mib", "bytes_in", "bytes_out"):
            number(values[name], name)
        part_bytes = plan.get("assumptions", {}).get("part_bytes")
        if part_bytes is not None:
            part_bytes = int(number(part_bytes, "part_bytes"))
        return Measured(**values), part_bytes, list(plan.get("warnings", []))
    except ValueError as error:
        raise ValueError(f"--measured={path}: {error}; expected what --json writes") from None


def _jobs(arguments: argparse.Namespace) -> list[Job]:
    if arguments.workers is not None and arguments.hours is not None:
        raise ValueError(
            "--hours and --workers: both given; expected one of them, from which the plan computes the other"
        )
    hours = 24.0 if arguments.hours is None else arguments.hours
    return [Job(documents, hours, arguments.workers) for documents in arguments.documents or _DOCUMENTS]


def _ratios(given: Sequence[str]) -> dict[str, float]:
    """Parse the speeds of other cores: ``["c3=1.2"]`` to ``{"c3": 1.2}``."""
    ratios = {}
    for item in given:
        name, _, value = item.partition("=")
        try:
            ratios[name] = number(float(value), "")
        except ValueError:
            raise ValueError(
                f"--core_ratio={item}: not a ratio; expected one like n2=0.8, a core's speed against one here"
            ) from None
    return ratios


def _positive(kind: type[T], least: float, most: float = float("inf")) -> Any:
    def convert(text: str) -> T:
        try:
            value = kind(float(text))  # a million may be written 1e6
        except (ValueError, OverflowError):
            value = kind(0)
        if not least <= value <= most or value == float("inf"):
            bound = f"between {least:g} and {most:g}" if most < float("inf") else f"of at least {least:g}"
            raise argparse.ArgumentTypeError(f"{text}: invalid; expected a number {bound}")
        return value

    return convert


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=PROGRAM, description=_DESCRIPTION, epilog=_EPILOG, allow_abbrev=False)
    add = parser.add_argument
    add("--documents", metavar="N", type=_positive(int, 1), action="append",
        help="how many documents are to be read; may be repeated (default: 1e6, 1e9 and 1e12)")  # fmt: skip
    add("--hours", metavar="H", type=_positive(float, 1e-6), help="by when (default: 24)")
    add("--workers", metavar="N", type=_positive(int, 1), help="with how many workers, in place of --hours")
    add("--worker_types", metavar="TYPES", default=_TYPES, help="separated by commas (default: %(default)s)")
    add("--sample_documents", metavar="N", type=_positive(int, 1), default=1000,
        help="documents of the input to measure with (default: %(default)s)")  # fmt: skip
    add("--sample_seconds", metavar="S", type=_positive(float, 0), default=5.0,
        help="how long to measure, at least (default: %(default)s)")  # fmt: skip
    add("--core_ratio", metavar="TYPE=X", action="append", default=[],
        help="speed of a core of a family or type against one of this machine: n2=0.8; may be repeated")  # fmt: skip
    add("--rates", metavar="FILE", type=Path,
        help='JSON with the documents a second of whole workers, measured there: {"g2-standard-4": 1200}')  # fmt: skip
    add("--prices", metavar="FILE", type=Path, help="JSON with prices and worker types, in place of the package's")
    add("--startup_minutes", metavar="M", type=_positive(float, 0), default=Assumptions.startup_minutes,
        help="until workers read (default: %(default)s)")  # fmt: skip
    add("--efficiency", metavar="X", type=_positive(float, 0.01, 1), default=Assumptions.efficiency,
        help="share of their time in which workers read (default: %(default)s)")  # fmt: skip
    add("--beam_us", metavar="US", type=_positive(float, 0), default=Assumptions.beam_us,
        help="microseconds of a core that Beam takes for a document (default: %(default)s)")  # fmt: skip
    add("--measured", metavar="FILE", type=Path,
        help="in place of measuring: what --json wrote, here or on a machine like the workers")  # fmt: skip
    add("--json", action="store_true", help="print JSON")
    return parser
