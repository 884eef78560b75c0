"""Broken model folders, each refused with one line that says why; and whole ones, which are not."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from checkpoint_factory import RANDOM_CHECKPOINTS
from onnx import TensorProto, numpy_helper
from safetensors.numpy import load_file, save_file

from transforms import TokenClassifier
from transforms.checkpoints.resolve import resolve

Change = Callable[[Path], Any]


# What is done to a folder


def weights(change: Callable[[dict[str, np.ndarray]], Any]) -> Change:
    """Changes tensors by their name."""

    def build(folder: Path) -> None:
        tensors = {name: tensor.copy() for name, tensor in load_file(folder / "model.safetensors").items()}
        change(tensors)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    return build


def content(name: str, change: Callable[[bytearray], Any]) -> Change:
    """Changes the bytes of a file."""

    def build(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        changed = change(data)
        (folder / name).write_bytes(data if changed is None else changed)

    return build


def trained(folder: Path) -> None:
    """Makes the folder one that a Trainer of transformers writes its checkpoints into."""
    for step in (500, 1000, 750):
        shutil.copytree(folder, folder / f"checkpoint-{step}", ignore=shutil.ignore_patterns("checkpoint-*"))
    (folder / "config.json").unlink()


def config(**changes: Any) -> Change:
    return lambda folder: (folder / "config.json").write_text(json.dumps({**json.loads((folder / "config.json").read_text()), **changes}))  # fmt: skip


def onnx_weights(change: Callable[[TensorProto, Path], Any]) -> Change:
    """Changes the largest tensor of floats."""

    def build(folder: Path) -> None:
        path = folder / "onnx" / "model_q4.onnx"
        model = onnx.load(path)
        floats = [tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT]
        change(max(floats, key=lambda tensor: np.prod(tensor.dims)), folder)
        path.write_bytes(model.SerializeToString())

    return build


def link(name: str, target: str | None = None) -> Change:
    """Puts a link in a file's place: to where the file is moved, which is outside, or to `target`."""

    def build(folder: Path) -> None:
        outside = folder.parent / f"outside-{name}"
        (folder / name).rename(outside)
        (folder / name).symlink_to(target or outside)

    return build


def instead(name: str, make: Callable[[Path], Any]) -> Change:
    def build(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return build


def manifest(folder: Path) -> None:
    """As the program itself writes it."""
    names = sorted(path.name for path in folder.iterdir())
    sums = subprocess.run(["sha256sum", *names], cwd=folder, capture_output=True, check=True).stdout
    (folder / "SHA256SUMS").write_bytes(sums)


def listed(change: Change, lines: Callable[[list[str]], list[str]] = list) -> Change:
    """A list of checksums, of which some lines are changed, and then a change that it does not know of."""

    def build(folder: Path) -> None:
        manifest(folder)
        path = folder / "SHA256SUMS"
        path.write_text("".join(lines(path.read_text().splitlines(keepends=True))))
        change(folder)

    return build


def no_change(folder: Path) -> None:
    """The list alone is wrong."""


def flip(data: bytearray) -> None:
    data[-20_000] ^= 1  # the last bit of a float


def noise(data: bytearray) -> None:
    data[-40_000:-36_000] = np.random.default_rng(0).bytes(4000)


def other_tokenizer(folder: Path) -> None:
    """One with more tokens than the model."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary |= {f"more{number}": len(vocabulary) + number for number in range(50)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def remote_code(folder: Path) -> None:
    config(model_type="mine", auto_map={"AutoModelForTokenClassification": "mine.Model"})(folder)
    (folder / "mine.py").write_text("raise SystemExit('code of the checkpoint was run')")


def sharded(place: str) -> Change:
    """Moves the weights, and names their new place in an index."""

    def build(folder: Path) -> None:
        names = list(load_file(folder / "model.safetensors"))
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / "model.safetensors").rename(folder / place)
        save_file({"x": np.zeros(1, np.float32)}, folder / "part.safetensors", {"format": "pt"})
        index = {"metadata": {}, "weight_map": dict.fromkeys(names, place)}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return build


def named(file: str, **names: Any) -> Change:
    return lambda folder: (folder / file).write_text(json.dumps(names))


def pickled(folder: Path) -> None:
    import torch

    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def torch_saved(path: Path) -> None:
    import torch

    torch.save({}, path)


def large(tensors: dict[str, np.ndarray]) -> None:
    """The highest bit of an exponent."""
    values = tensors["bert.embeddings.word_embeddings.weight"].view(np.uint32)
    values[5, 5] |= 1 << 30


def filled(name: str, value: float) -> Callable[[dict[str, np.ndarray]], None]:
    return lambda tensors: tensors[name].__setitem__(3, value)


def external(location: str) -> Callable[[TensorProto, Path], None]:
    """Keeps the tensor in a file of its own, which is all right but for where it may stand."""

    def build(tensor: TensorProto, folder: Path) -> None:
        data = numpy_helper.to_array(tensor).tobytes()
        (folder / "onnx" / location).write_bytes(data)
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", str(len(data)))):
            tensor.external_data.add(key=key, value=value)

    return build


def not_numbers(tensor: TensorProto, folder: Path) -> None:
    values = numpy_helper.to_array(tensor).copy()
    values.flat[7] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def random_bytes(tensor: TensorProto, folder: Path) -> None:
    noisy = np.frombuffer(np.random.default_rng(0).bytes(4 * int(np.prod(tensor.dims))), np.float32)
    tensor.CopyFrom(numpy_helper.from_array(np.nan_to_num(noisy, nan=1).reshape(tensor.dims), tensor.name))


def half(data: bytearray) -> bytes:
    return bytes(data[: len(data) // 2])


def nothing(data: bytearray) -> bytes:
    return b""


def nested(data: bytearray) -> bytes:
    return b'{"id2label":' * 100_000


WORDS = "bert.embeddings.word_embeddings.weight"
BROKEN: dict[str, tuple[Change, str]] = {
    # Weights
    "noise": (content("model.safetensors", noise), r"corrupt weights of .* in "),
    "a flipped exponent": (weights(large), r"corrupt weights of .*e\+3\d in bert.embeddings"),
    "not a number": (weights(filled(WORDS, np.nan)), "corrupt weights of nan in bert.embeddings"),
    "infinite": (weights(filled("classifier.weight", np.inf)), "corrupt weights of inf in classifier.weight"),
    "minus infinite": (weights(filled("classifier.bias", -np.inf)), "corrupt weights of -inf in classifier.bias"),
    "cut": (content("model.safetensors", half), "cannot be loaded: SafetensorError"),
    "empty": (content("model.safetensors", nothing), "cannot be loaded: SafetensorError"),
    "a header out of bounds": (content("model.safetensors", lambda data: struct.pack("<Q", 1 << 60) + data[8:]), "cannot be loaded"),
    "a header that is no JSON": (content("model.safetensors", lambda data: data.__setitem__(slice(8, 40), b"x" * 32)), "cannot be loaded"),
    "a pickle by another name": (instead("model.safetensors", torch_saved), "cannot be loaded: SafetensorError"),
    "pickles alone": (pickled, "only pickled weights"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "neither safetensors nor ONNX weights"),
    "no head": (weights(lambda tensors: [tensors.pop(name) for name in ("classifier.weight", "classifier.bias")]), "2 of its weights are missing"),
    "a missing layer": (weights(lambda tensors: [tensors.pop(name) for name in list(tensors) if "layer.1" in name]), "16 of its weights are missing"),
    "other sizes": (config(hidden_size=64), "cannot be loaded"),
    # Checksums
    "a flipped bit, and a list": (listed(content("model.safetensors", flip)), "SHA256SUMS contains another checksum for model.safetensors"),
    "another configuration, and a list": (listed(config(layer_norm_eps=0.1)), "SHA256SUMS contains another checksum for config.json"),
    "a listed file that is not here": (listed(lambda folder: (folder / "tokenizer.json").unlink()), "SHA256SUMS contains tokenizer.json, which is missing"),
    "weights that are not listed": (listed(no_change, lambda lines: [line for line in lines if "safetensors" not in line]), "SHA256SUMS does not contain model.safetensors"),
    "a list that is none": (listed(no_change, lambda lines: ["\x00\n", *lines]), "SHA256SUMS contains an invalid line; expected a checksum"),
    # Labels
    "fewer labels than the head": (config(id2label={"0": "O", "1": "X"}, label2id={"O": 0, "X": 1}), "cannot be loaded"),
    "a gap in the labels": (config(id2label={str(number): f"B-{number}" for number in (0, 1, 2, 3, 4, 5, 7)}), "does not number its 7 classes from 0"),
    "labels that are no names": (config(id2label={str(number): number for number in range(7)}), "does not contain a name for each class"),
    "a list of labels": (config(id2label=["O", "B-PER"]), "does not contain a name for each class"),
    "another task": (config(architectures=["BertForMaskedLM"]), "BertForMaskedLM has no token-classification labels"),
    # The configuration
    "no configuration": (lambda folder: (folder / "config.json").unlink(), "no config.json"),
    "quantised weights": (config(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}), r"quantised weights \(bitsandbytes\) are not read; expected weights in fp32, bf16 or fp16"),
    "weights quantised in an odd way": (config(quantization_config=["gptq"]), r"quantised weights \(unknown method\) are not read"),
    "the folder of a Trainer": (trained, "no config.json; expected one of the 3 checkpoints in it, for example checkpoint-1000"),
    "no JSON": (content("config.json", lambda data: b"{"), "config.json cannot be read: JSONDecodeError"),
    "an empty configuration": (content("config.json", nothing), "config.json cannot be read"),
    "a JSON bomb": (content("config.json", nested), "config.json cannot be read: RecursionError"),
    "a large configuration": (content("config.json", lambda data: data + b" " * (1 << 25)), "config.json cannot be read"),
    "not UTF-8": (content("config.json", lambda data: b"\xff\xfe" + data), "config.json cannot be read: UnicodeDecodeError"),
    "an array": (content("config.json", lambda data: b"[]"), "config.json contains no JSON object"),
    "architectures that are none": (config(architectures=7), "the architectures in config.json are not a list of names"),
    "code of its own": (remote_code, "transformers cannot read the configuration"),
    "arithmetic that gives no numbers": (config(layer_norm_eps=-1e9), "a test sentence cannot be classified: the model's scores are not finite numbers"),
    "no room in a window": (config(max_position_embeddings=1), "is too small; expected more than 2 special tokens"),
    # The tokenizer
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer that transformers can load"),
    "half a tokenizer": (content("tokenizer.json", half), "no tokenizer that transformers can load"),
    "an empty tokenizer": (content("tokenizer.json", nothing), "no tokenizer that transformers can load"),
    "a bomb of a tokenizer": (content("tokenizer.json", nested), "no tokenizer that transformers can load"),
    "a tokenizer with more tokens": (other_tokenizer, "does not fit the tokenizer; expected more than"),
    "fewer tokens than the tokenizer": (config(vocab_size=100), "does not fit the tokenizer; expected more than"),
    # Files that are none, or are elsewhere
    "weights elsewhere": (link("model.safetensors"), "model.safetensors is a link out of the folder"),
    "a configuration elsewhere": (link("config.json", "/etc/passwd"), "config.json is a link out of the folder"),
    "shards elsewhere": (sharded("../outside.safetensors"), "model.safetensors.index.json contains the name of a file outside the folder"),
    "shards in a folder": (sharded("more/model-1.safetensors"), "model.safetensors.index.json contains the name of a file outside the folder"),
    "an index that is none": (named("model.safetensors.index.json", weight_map=["x"]), "model.safetensors.index.json cannot be read"),
    "weights of another name elsewhere": (config(transformers_weights="../x.safetensors"), "config.json contains the name of a file outside the folder"),
    "a tokenizer elsewhere": (named("tokenizer_config.json", fast_tokenizer_files=["../tokenizer.4.0.0.json"]), "tokenizer_config.json contains the name of a file outside the folder"),
    "an adapter": (named("adapter_config.json", base_model_name_or_path="/etc"), "an adapter of another model; expected"),
    "a link to nothing": (link("tokenizer.json", "nothing.json"), "files cannot be read: FileNotFoundError"),
    "a link to itself": (link("tokenizer.json", "tokenizer.json"), "files cannot be read"),
    "a pipe": (instead("tokenizer.json", os.mkfifo), "tokenizer.json is not a file"),
    "a folder": (instead("model.safetensors", Path.mkdir), "model.safetensors is not a file"),
    "nothing": (shutil.rmtree, "neither a folder nor the id of a model"),
    "a file": (lambda folder: (shutil.rmtree(folder), folder.write_text("{}")), "neither a folder nor the id of a model"),
}  # fmt: skip
ONNX: dict[str, tuple[Change, str]] = {
    "cut": (content("onnx/model_q4.onnx", half), "OpenVINO cannot read model_q4.onnx"),
    "empty": (content("onnx/model_q4.onnx", nothing), "OpenVINO cannot read model_q4.onnx"),
    "text": (content("onnx/model_q4.onnx", lambda data: b"version https://git-lfs.github.com/spec/v1\n"), "OpenVINO cannot read model_q4.onnx"),
    "not a number": (onnx_weights(not_numbers), "corrupt weights of nan in model_q4.onnx"),
    "noise": (onnx_weights(random_bytes), "corrupt weights of .* in model_q4.onnx"),
    "data elsewhere": (onnx_weights(external("../../data.bin")), "OpenVINO cannot read model_q4.onnx"),
    "other labels": (config(id2label={"0": "O", "1": "X"}, label2id={"O": 0, "X": 1}), "a test sentence cannot be classified: the model returns 35 scores for a token, and its config.json contains 2 labels"),
}  # fmt: skip


@pytest.fixture
def folder(checkpoint: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint("bert_cased"), tmp_path / "model"))


def refuses(folder: Path, sentence: str, **arguments: Any) -> None:
    with pytest.raises(ValueError, match=f"^model={str(folder)!r}: .*{sentence}") as caught:
        TokenClassifier(folder, **arguments)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("problem", BROKEN)
def test_broken(problem: str, folder: Path) -> None:
    build, sentence = BROKEN[problem]
    build(folder)
    refuses(folder, sentence, engine="torch")


@pytest.mark.parametrize("problem", ONNX)
def test_broken_onnx(problem: str, tmp_path: Path) -> None:
    build, sentence = ONNX[problem]
    folder = Path(shutil.copytree(resolve("rampart").folder, tmp_path / "model"))
    build(folder)
    refuses(folder, sentence)


@pytest.mark.parametrize("problem", ["not a number", "cut", "no head", "fewer labels than the head"])
def test_the_engine_of_choice_makes_no_difference(problem: str, folder: Path) -> None:
    build, sentence = BROKEN[problem]
    build(folder)
    refuses(folder, sentence)


# Whole ones


@pytest.mark.parametrize(
    "name", sorted(set(RANDOM_CHECKPOINTS) - {"canine"})
)  # CANINE is loaded in test_special_tokens
def test_whole_ones_of_every_kind_are_taken(name: str, checkpoint: Callable[[str], Path]) -> None:
    assert TokenClassifier(checkpoint(name), engine="torch")("Ann in Paris", ignore_labels=[])


def test_a_list_of_the_right_checksums(folder: Path) -> None:
    (folder / "README.md").write_text("Listed, but not a part of the model.")
    manifest(folder)
    (folder / "README.md").write_text("Changed.")
    assert TokenClassifier(folder, engine="torch")("Ann in Paris", ignore_labels=[])


def test_links_of_the_hubs_cache_and_within_the_folder(folder: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "abc", tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in folder.iterdir():
        shutil.copyfile(path, blobs / f"hash-of-{path.name}")
        (snapshot / path.name).symlink_to(f"../../blobs/hash-of-{path.name}")
    mounted = tmp_path / "mounted"
    shutil.copytree(folder, mounted / "..data")
    for path in folder.iterdir():
        (mounted / path.name).symlink_to(f"..data/{path.name}")
    (tmp_path / "latest").symlink_to(mounted)
    for whole in (snapshot, mounted, tmp_path / "latest"):
        assert TokenClassifier(whole, engine="torch")("Ann in Paris", ignore_labels=[])


def test_weights_in_shards(folder: Path) -> None:
    expected = TokenClassifier(folder, engine="torch")("Ann in Paris", ignore_labels=[])
    sharded("model-00001-of-00001.safetensors")(folder)
    assert TokenClassifier(folder, engine="torch")("Ann in Paris", ignore_labels=[]) == expected


def test_onnx_data_in_the_folder(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(resolve("rampart").folder, tmp_path / "model"))
    onnx_weights(external("data.bin"))(folder)
    text = "My name is Ann Smith"
    assert TokenClassifier(folder)(text) == TokenClassifier()(text)
