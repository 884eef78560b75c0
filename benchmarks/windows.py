"""Measures the memory and the time of long texts by the length of windows: ``make bench-windows``.

The model has the shape of openai/privacy-filter with 8 experts in place of 128, and random weights. Each length runs in
its own process, in PyTorch in fp32. The last column is the share of tokens with the label of a single window.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path

from benchmarks.texts import documents
from transforms.machine import peak_mib

_LABELS = ["O", *(f"{prefix}-{kind}" for kind in "abcdefgh" for prefix in "BIES")]


def main() -> int:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=6000, help="tokens of the text (default: %(default)s)")
    parser.add_argument("--windows", type=int, nargs="+", default=[8192, 4096, 2048], help="the first is the reference")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    print("| window | windows | s | peak GiB | equal labels |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        _write_model(Path(scratch))
        reference = None
        for window in arguments.windows:
            with context.Pool(1) as pool:
                labels, count, seconds, peak = pool.apply(_run, (scratch, arguments.tokens, window))
            reference = reference or labels
            equal = sum(map(str.__eq__, labels, reference)) / len(reference)
            print(f"| {window} | {count} | {seconds:.1f} | {peak / 1024:.1f} | {equal:.2%} |", flush=True)
    return 0


def _write_model(folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import CONFIG_MAPPING, AutoModelForTokenClassification, PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<pad>"], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(documents(100), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", model_max_length=128_000)
    config = CONFIG_MAPPING["openai_privacy_filter"](
        vocab_size=len(tokenizer),
        pad_token_id=0,
        eos_token_id=0,
        num_local_experts=8,
        id2label=dict(enumerate(_LABELS)),
    )
    torch.manual_seed(3)
    AutoModelForTokenClassification.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _run(folder: str, tokens: int, window: int) -> tuple[list[str], int, float, int]:
    """Return the label of each token, the number of windows, the seconds, and the peak memory in MiB."""
    from transforms import Document, PreEntities, TokenClassifier

    classify = TokenClassifier(folder, engine="torch", max_window_tokens=window, ignore_labels=[])
    text = " ".join(documents(2000, seed=2))
    encoded = classify.tokenization.encode([text])[0]
    assert encoded.end is not None
    document = Document("1", text[: encoded.end[tokens - 1]])
    begin = time.perf_counter()
    (scored,) = classify.classify([document])
    seconds = time.perf_counter() - begin
    assert isinstance(scored, PreEntities)
    entities = classify(document.text)
    return [entity["entity"] for entity in entities], scored.num_windows, seconds, peak_mib()


if __name__ == "__main__":
    raise SystemExit(main())
