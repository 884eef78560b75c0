"""What docs/ says of metrics and of guarantees is what the code and the tests say."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.ml.inference.base import _MetricsCollector

from transforms.metrics import NAMESPACE

ROOT = Path(__file__).parents[1]
METRICS = (ROOT / "docs" / "metrics.md").read_text("utf-8")
RELIABILITY = (ROOT / "docs" / "reliability.md").read_text("utf-8")


def tables(text: str) -> list[list[str]]:
    """The names in the first column of each table."""
    found: list[list[str]] = []
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = block.splitlines()[2:]
        found.append([name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])])
    return found


def counted_in(path: Path) -> set[str]:
    """The names of counters and distributions that a module makes."""
    names: set[str] = set()
    for call in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        constants = {each.value for each in call.args if isinstance(each, ast.Constant) and isinstance(each.value, str)}
        counts = call.func.attr == "add" and ast.unparse(call.func.value).endswith("counts")
        if counts or call.func.attr in ("counter", "distribution", "_counted"):
            names |= constants
    return names


def test_metrics_are_those_of_the_code() -> None:
    modules = [path for package in ("pipeline", "transforms") for path in (ROOT / package).rglob("*.py")]
    assert set(tables(METRICS)[0]) == set().union(*map(counted_in, modules))


def test_metrics_of_run_inference_are_beams(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def remember(namespace: str, name: str) -> Any:
        assert namespace == NAMESPACE
        made.append(name)

    monkeypatch.setattr(beam.metrics.Metrics, "counter", remember)
    monkeypatch.setattr(beam.metrics.Metrics, "distribution", remember)
    _MetricsCollector(NAMESPACE)
    assert sorted(tables(METRICS)[1]) == sorted(made)


def test_the_dashboard_shows_metrics_that_there_are() -> None:
    counters, of_inference = tables(METRICS)
    ends = ("_COUNT", "_MEAN", "_MIN", "_MAX")
    known = {*counters, *(name + end for name in of_inference for end in ends), "entities_.+"}
    dashboard = json.loads((ROOT / "docs" / "dashboard.json").read_text("utf-8"))
    shown: set[str] = set()
    for tile in dashboard["mosaicLayout"]["tiles"]:
        for data_set in tile["widget"]["xyChart"]["dataSets"]:
            query = data_set["timeSeriesQuery"]["prometheusQuery"]
            names = [name for group in re.findall(r'metric_name=~?"([^"]+)"', query) for name in group.split("|")]
            assert names
            shown.update(names)
    assert shown <= known
    assert set(counters) <= shown


def test_every_test_that_vouches_for_something_is_there() -> None:
    named = re.findall(r"`(test_\w+)\.(test_\w+)`", RELIABILITY)
    assert len(named) >= 60
    for module, name in named:
        (path,) = (ROOT / "tests").rglob(f"{module}.py")
        assert re.search(rf"^def {name}\(", path.read_text("utf-8"), re.MULTILINE), f"{module}.{name}"
