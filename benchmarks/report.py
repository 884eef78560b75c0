"""The benchmark's figures as a table and as plots."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks.subjects import precision_of


def write_report(results: dict[str, Any], folder: Path) -> None:
    """Writes table.md, speed.png, lengths.png and growth.png."""
    (folder / "table.md").write_text(table(results), encoding="utf-8")
    _plot_speed(results, folder / "speed.png")
    _plot_lengths(results, folder / "lengths.png")
    _plot_growth(results, folder / "growth.png")


def rates(subjects: dict[str, Any], documents: int) -> dict[str, float]:
    """Documents/s of each subject: the median of its turns."""
    return {name: documents / statistics.median(figures["seconds"]) for name, figures in subjects.items()}


def table(results: dict[str, Any]) -> str:
    """All figures as Markdown."""
    machine, peaks, gflop = results["machine"], results["peak_gflops"], results["gflop_per_document"]
    heading = (
        f"{results['documents']} documents, {gflop:.2f} GFLOP each, medians of {results['rounds']} turns; "
        f"{machine['cores']} cores of {machine['processor']} ({', '.join(machine['vector_units'])}); "
        f"matrix peak {peaks['fp32']:.0f} GFLOP/s in fp32, {peaks['bf16']:.0f} in bf16"
    )
    missing = [precision for precision in ("bf16", "int8") if precision not in results["precisions"]]
    if missing:
        heading += f"; OpenVINO has no {' and no '.join(missing)} here, and no rows of it"
    parts = [[heading], _speed_lines(results), _program_lines(results), _debian_lines(results)]
    parts += [_grouping_lines(results), _growth_lines(results)]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _speed_lines(results: dict[str, Any]) -> list[str]:
    rate = rates(results["subjects"], results["documents"])
    base = next(iter(rate.values()))
    peaks, gflop = results["peak_gflops"], results["gflop_per_document"]
    lines = [
        "| | documents/s | ratio | of the matrix peak | labels as in fp32 | first result, s | peak memory, MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, figures in results["subjects"].items():
        precision = precision_of(name)
        share = "" if precision == "int8" or "spaCy" in name else f"{rate[name] * gflop / peaks[precision]:.0%}"
        lines.append(
            f"| {name} | {rate[name]:.0f} | {rate[name] / base:.2f} | {share} | {_agreement(name, results)} | "
            f"{figures['first_result_s']:.1f} | {figures['peak_mib']:.0f} |"
        )
    return lines


def _agreement(name: str, results: dict[str, Any]) -> str:
    share = next((share for kind, share in results["agreement"].items() if name.endswith(f", {kind}")), None)
    return "" if share is None else f"{share:.2%}"


def _program_lines(results: dict[str, Any]) -> list[str]:
    rate = rates(**results["program"])
    in_process = {name: rate[name.replace("program", "TokenClassifier")] for name in rate}
    return [
        f"| {results['program']['documents']} documents | documents/s | of that in process |",
        "|---|---|---|",
        *(f"| {name} | {one:.0f} | {one / in_process[name]:.2f} |" for name, one in rate.items()),
    ]


def _debian_lines(results: dict[str, Any]) -> list[str]:
    debian = results["debian"]
    if debian is None:
        return []
    rate = rates(debian["subjects"], debian["documents"])
    base = next(iter(rate.values()))
    return [
        f"| {debian['documents']} paragraphs of Debian's packages | documents/s | ratio | labels as in fp32 |",
        "|---|---|---|---|",
        *(f"| {name} | {one:.0f} | {one / base:.2f} | {_agreement(name, debian)} |" for name, one in rate.items()),
    ]


def _grouping_lines(results: dict[str, Any]) -> list[str]:
    rate = rates(**results["program"])
    there = [precision for precision in ("fp32", "bf16") if precision in results["precisions"]]
    columns = " | in ".join(there)
    lines = [f"| grouping | µs a document | of a run in {columns} |", "|---|---|" + "---|" * len(there)]
    for name, micros in results["grouping"].items():
        shares = [f"{micros * rate[f'program, openvino {precision}'] / 1e6:.1%}" for precision in there]
        lines.append(f"| {name} | {micros:.0f} | {' | '.join(shares)} |")
    return lines


def _growth_lines(results: dict[str, Any]) -> list[str]:
    precision = "bf16" if "bf16" in results["precisions"] else "fp32"
    return [
        f"| documents, program as a process in {precision} | seconds | documents/s | peak memory, MiB |",
        "|---|---|---|---|",
        *(
            f"| {int(count):,} | {one['seconds']:.1f} | {int(count) / one['seconds']:.0f} | {one['peak_mib']:.0f} |"
            for count, one in results["growth"].items()
        ),
    ]


def _plot_speed(results: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    rate = rates(results["subjects"], results["documents"])
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot()
    colours = ["0.6" if name.startswith(("transformers", "spaCy")) else "tab:blue" for name in rate]
    bars = axes.barh(list(rate), list(rate.values()), color=colours)
    axes.bar_label(bars, [f"{value:.0f}" for value in rate.values()], padding=3)
    axes.invert_yaxis()
    axes.set_xlabel("documents a second")
    axes.margins(x=0.1)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def _plot_lengths(results: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for precision, by_length in results["lengths"].items():
        axes.plot([int(length) for length in by_length], list(by_length.values()), marker="o", label=precision)
    axes.set_xscale("log", base=2)
    axes.set_xticks([int(length) for length in by_length], list(by_length))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("tokens a document")
    axes.set_ylabel("tokens a second")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def _plot_growth(results: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    counts = [int(count) for count in results["growth"]]
    for number, (key, label) in enumerate((("seconds", "seconds"), ("peak_mib", "peak memory, MiB"))):
        axes = figure.add_subplot(1, 2, number + 1)
        axes.plot(counts, [one[key] for one in results["growth"].values()], marker="o")
        axes.set_xscale("log")
        if key == "seconds":
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set_xlabel("documents")
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
