"""Puts a model into the image when it is built: `python bake_model.py MODEL [REVISION] [ENGINE]`.

A model of the hub is downloaded, and one with weights for PyTorch is converted for OpenVINO. The model then reads a
sentence, so that the build fails if the model does not work. HF_HOME and BEAM_NER_CACHE set the folders for the model.
"""

import sys

from transforms import TokenClassifier


def bake(model: str, revision: str = "", engine: str = "auto") -> None:
    """Loads a model once, so that all files for loading it again are in the image.

    Args:
        model: Name of the model, as for `--model`.
        revision: Revision of the model, as for `--model_revision`; empty for none.
        engine: Name of the engine, as for `--engine`; ``torch`` skips the conversion, which GPUs do not need.
    """
    classify = TokenClassifier(model, model_revision=revision or None, engine=engine, device="cpu")
    classify("Ann Smith lives in London.")


if __name__ == "__main__":
    bake(*sys.argv[1:])
