"""A model that is replaced while messages flow through the program, as a process."""

from __future__ import annotations

import itertools
import re
import shutil
import threading
from pathlib import Path

import checkpoint_factory
import transformers
from streams import Stream

from transforms import TokenClassifier


def make_version(folder: Path, seed: int) -> str:
    """Makes a checkpoint; gives its revision."""
    tokenizer = checkpoint_factory.wordpiece(lowercase=False)
    config = transformers.BertConfig(**checkpoint_factory.small(tokenizer))
    checkpoint_factory.save(folder, config, tokenizer, checkpoint_factory.BIO, seed=seed)
    return TokenClassifier(folder, engine="torch").model_revision


def overwrite(source: Path, target: Path) -> None:
    """File by file, the weights last, as a copy does."""
    for path in sorted(source.iterdir(), key=lambda path: path.suffix == ".safetensors"):
        shutil.copyfile(path, target / path.name)


def test_a_model_is_replaced_twice_while_letters_flow(tmp_path: Path) -> None:
    revisions = [make_version(tmp_path / f"v{seed}", seed) for seed in (1, 2, 3)]
    broken = Path(shutil.copytree(tmp_path / "v2", tmp_path / "broken")) / "model.safetensors"
    broken.write_bytes(broken.read_bytes()[:-1000])
    model = Path(shutil.copytree(tmp_path / "v1", tmp_path / "model"))

    flags = [f"--model={model}", "--model_refresh_seconds=0.3", "--engine=torch", "--aggregation_strategy=simple"]
    over = threading.Event()
    sent: list[str] = []
    with Stream(tmp_path, *flags) as stream:

        def flow() -> None:
            for begin in itertools.count(0, 20):  # two tenths of a second each
                if over.is_set():
                    return
                sent.extend(stream.publish_steadily(range(begin, begin + 20), 100))

        def wait_for_revision(revision: str) -> None:
            made = f'"{revision}"'.encode()
            stream.wait(lambda: made in stream.results()[-1].data, f"revision {revision}")

        stream.start()
        flowing = threading.Thread(target=flow, daemon=True)
        flowing.start()
        stream.wait_for_results(1)
        overwrite(tmp_path / "v2", model)
        wait_for_revision(revisions[1])
        overwrite(tmp_path / "broken", model)
        stream.wait(lambda: "a new version cannot be used" in stream.log(), "the broken version to be noticed")
        known = len(stream.ids())
        stream.wait_for_results(known + 100)  # it goes on with the old one
        overwrite(tmp_path / "v3", model)
        wait_for_revision(revisions[2])
        over.set()
        flowing.join()
        stream.wait_for_results(len(sent))
        stream.wait_for_acknowledgements()
        assert stream.terminate() == 0
        rows, ids, log = stream.rows(), stream.ids(), stream.log()

    assert ids == dict.fromkeys(sent, 1)
    assert [revision for revision, _ in itertools.groupby(row["model_revision"] for row in rows)] == revisions
    assert {row["model"] for row in rows} == {str(model)}
    assert log.count("a new version cannot be used") == 1
    assert log.count(" replaces ") == 2
    counters = re.findall("counters: (.*)", log)[-1].split(", ")
    assert {"model_loads 1", "model_refreshes 2", "model_refresh_failures 1"} <= set(counters)
