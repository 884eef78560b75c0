"""A real kernel of Jupyter: the README's examples, Beam's interactive runner, and the program in a cell."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from services.clients import environment_of
from services.pubsub_broker import Broker

ROOT = Path(__file__).parents[1]
REASON = "the extra is not installed: pip install -c constraints.txt -e '.[notebook]'"
for module in ("nbclient", "nbformat", "ipykernel", "IPython", "ipywidgets", "pandas"):
    pytest.importorskip(module, reason=REASON)

import nbformat  # noqa: E402
from nbclient import NotebookClient  # noqa: E402

README = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
FLAGS = '["--input=in.txt", "--output=out/x", "--aggregation_strategy=first", "--include_text"]'
SUBSCRIPTION = "projects/beam-ner-tests/subscriptions/letters"
TOPIC = "projects/beam-ner-tests/topics/{}"


class Notebook:
    """A notebook in a folder of its own, with its kernel.

    Args:
        folder: The working folder.
        environment: All variables of the kernel.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._environment = {**environment, "PYTHONPATH": str(ROOT)}
        self._notebook = nbformat.v4.new_notebook()
        resources = {"metadata": {"path": str(folder)}}
        self._client = NotebookClient(self._notebook, timeout=300, kernel_name="python3", resources=resources)

    def run(self, *cells: str, interrupt: dict[int, Callable[[], bool]] | None = None) -> list[str]:
        """Runs cells in their order, and gives the text that each shows.

        Args:
            *cells: Python.
            interrupt: By the number of a cell, the condition at which the button to interrupt it is pressed.
        """
        return asyncio.run(self._run(cells, interrupt or {}))

    async def _run(self, cells: tuple[str, ...], interrupt: dict[int, Callable[[], bool]]) -> list[str]:
        shown = []
        self._notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
        async with self._client.async_setup_kernel(env=self._environment):
            for number, cell in enumerate(self._notebook.cells):
                running = asyncio.create_task(self._client.async_execute_cell(cell, number))
                if number in interrupt:
                    await self._interrupt(interrupt[number], running)
                await running
                shown.append("".join(map(_text, cell.outputs)))
        return shown

    async def _interrupt(self, condition: Callable[[], bool], running: asyncio.Task[Any]) -> None:
        end = time.monotonic() + 180
        while not condition():
            assert not running.done()
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        await self._client.km.interrupt_kernel()


def _text(output: Any) -> str:
    return str(output.get("text") or output.get("data", {}).get("text/plain") or output.get("traceback") or "")


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    (tmp_path / "in.txt").write_text("My name is Ann Smith.\n")
    return Notebook(tmp_path, dict(os.environ))


def test_the_examples_and_the_interactive_runner(notebook: Notebook) -> None:
    examples, without_beam, _, collected = notebook.run(
        *README,
        "import apache_beam.runners.interactive.interactive_beam as ib\n"
        "from apache_beam.runners.interactive.interactive_runner import InteractiveRunner\n"
        "pipeline = beam.Pipeline(InteractiveRunner())\n"
        "results = pipeline | beam.Create(documents) | ClassifyTokens(model='rampart')\n"
        "results = results.predictions | GroupEntities('first')\n"
        "texts = results | beam.FlatMap(lambda result: [(result.id, entity.text) for entity in result.entities])",
        "frame = ib.collect(texts)\nprint(sorted(map(tuple, frame.values.tolist())))",
    )
    assert "1 ['Ann', 'Smith', 'London']\n" in examples
    assert without_beam == "GIVEN_NAME ann 1.0 11 14\nSURNAME smith 1.0 15 20\nCITY london 0.93 35 41\n"
    assert "[('1', 'Ann'), ('1', 'London'), ('1', 'Smith')]" in collected


def test_the_program_in_a_cell(notebook: Notebook, tmp_path: Path) -> None:
    _, ran, refused, shown, interactive, preview = notebook.run(
        "from pipeline import preview\nfrom pipeline.run import main",
        f"main({FLAGS})",
        "main(['--input=nothing.txt', '--output=out/x'])",
        "main(['--help'])",
        "main(['--input=in.txt', '--output=out/x', '--runner=InteractiveRunner'])",
        "preview.main(['out/x-00000-of-00001.jsonl'])",
    )
    assert "1 results, in out/x-" in ran
    assert refused == "beam-ner: error: --input='nothing.txt': matches no file\n2"
    assert shown.startswith("usage: beam-ner")
    assert shown.endswith("0")
    assert interactive.startswith("beam-ner: error: --runner=InteractiveRunner: ")
    assert "Smith[SURNAME]" in re.sub(r"\x1b\[[\d;]*m", "", preview)


def test_the_button_to_interrupt_ends_a_run_and_the_kernel_goes_on(notebook: Notebook, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("Ann Smith, 7 Elm Street. " * 20 + "\n" + "Ann\n" * 20_000)
    begun = lambda: bool(list(tmp_path.glob("out/beam-temp-x-*")))  # noqa: E731
    _, interrupted, after = notebook.run(
        "from pipeline.run import main", f"main({FLAGS})", "print('alive')", interrupt={1: begun}
    )
    assert interrupted.endswith("beam-ner: interrupted\n130")
    assert after == "alive\n"
    assert list((tmp_path / "out").iterdir()) == []


def test_the_button_to_interrupt_drains_a_stream(tmp_path: Path) -> None:
    with Broker() as broker:
        for name in ("letters", "entities", "entities-failures"):
            broker.create_topic(TOPIC.format(name))
        broker.create_subscription(SUBSCRIPTION, TOPIC.format("letters"))
        broker.publish(TOPIC.format("letters"), ["Ann Smith"])
        done = lambda: bool(broker.messages(TOPIC.format("entities"))) and not broker.unacknowledged(SUBSCRIPTION)  # noqa: E731
        _, streamed, after = Notebook(tmp_path, environment_of(broker)).run(
            "from pipeline.run import main",
            f"main(['--input={SUBSCRIPTION}', '--output={TOPIC.format('entities')}'])",
            "print('alive')",
            interrupt={1: done},
        )
    assert "SIGINT: no more messages are read; finishing those in work" in streamed
    assert streamed.endswith("0")
    assert after == "alive\n"
