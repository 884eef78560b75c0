"""Measures what ``--decoding=viterbi`` costs beside the model: ``make bench-decoding``.

The figures are seconds for a million tokens times labels, and the seconds for a document of 100,000 tokens. Each is the
median of five passes over random probabilities, by the scheme of the labels and their number.
"""

from __future__ import annotations

import statistics
import time

import numpy as np

from transforms.aggregation.rules import EntityRules

_TOKENS = (1_000, 100_000)
_KINDS = (2, 8, 17)


def main() -> int:
    """Prints a table."""
    print("| scheme | labels | tokens | s a million token-labels | s a document |\n|---|---|---|---|---|")
    for scheme, prefixes in (("iob2", "BI"), ("iobes", "BIES")):
        rules = EntityRules.of(decoding="viterbi", tagging_scheme=scheme)
        for kinds in _KINDS:
            labels = ("O", *(f"{prefix}-{kind}" for kind in range(kinds) for prefix in prefixes))
            decode = rules.decode(labels, None)
            assert decode is not None
            for tokens in _TOKENS:
                probabilities = np.random.default_rng(0).dirichlet(np.full(len(labels), 0.1), tokens).astype(np.float32)
                taken = []
                for _ in range(5):
                    begin = time.perf_counter()
                    decode(probabilities)
                    taken.append(time.perf_counter() - begin)
                seconds = statistics.median(taken)
                rate = seconds / (tokens * len(labels)) * 1e6
                print(f"| {scheme} | {len(labels)} | {tokens:,} | {rate:.2f} | {seconds:.3f} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
