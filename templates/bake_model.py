"""Puts a model into the image: `python bake_model.py MODEL [REVISION] [ENGINE]`, when it is built.

Downloads it where it is on the hub, converts it for OpenVINO where it has weights for PyTorch, and reads a sentence
with it, so that no image is made with a model that does not work. HF_HOME and BEAM_NER_CACHE say where it is kept.
"""

import sys

from transforms import TokenClassifier


def bake(model: str, revision: str = "", engine: str = "auto") -> None:
    """Loads a model once, and with that leaves all that loading it again needs.

    Args:
        model: As `--model`.
        revision: As `--model_revision`; empty for none.
        engine: As `--engine`: ``torch`` spares the conversion, which an image for GPUs has no use for.
    """
    classify = TokenClassifier(model, model_revision=revision or None, engine=engine, device="cpu")
    classify("Ann Smith lives in London.")


if __name__ == "__main__":
    bake(*sys.argv[1:])
