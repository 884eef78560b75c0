"""Finds or downloads the runner Prism, before a run deletes the results of an earlier one."""

from __future__ import annotations

import os
import zipfile

import apache_beam
from apache_beam.options.pipeline_options import (
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
    StandardOptions,
)
from apache_beam.runners.portability.prism_runner import PrismJobServer

from transforms.errors import first_line


def find_prism(options: PipelineOptions) -> None:
    """Finds Prism's executable, or downloads it as Beam would; does nothing if the run does not start Prism.

    A download may take minutes, so call this after the checks of other flags.

    Args:
        options: The flags; `--prism_location` is set to the executable that was found.

    Raises:
        ValueError: if there is none, in one sentence with the flag, its value and a valid value.
    """
    runner = options.view_as(StandardOptions).runner
    if runner != "PrismRunner" or options.view_as(PortableOptions).job_endpoint:
        return
    prism = options.view_as(PrismRunnerOptions)
    given = prism.prism_location
    flag = f"--prism_location={given}" if given else "--runner=PrismRunner"
    if given and os.path.isdir(given):  # noqa: PTH112, for Path raises an error if the name is too long
        raise ValueError(f"{flag}: is a folder; expected Prism's program in it")
    if given and os.path.exists(given) and not zipfile.is_zipfile(given) and not os.access(given, os.X_OK):  # noqa: PTH110
        raise ValueError(f"{flag}: neither a program nor a zip with one; expected Prism's")
    try:
        source = PrismJobServer(prism).path_to_binary()
        prism.prism_location = PrismJobServer.local_bin(source, PrismJobServer.BIN_CACHE)
    except (ValueError, RuntimeError, OSError, KeyError) as error:
        raise ValueError(
            f"{flag}: Prism cannot be found ({first_line(error)}); expected --prism_location=PATH, say one built"
            f" by `go install github.com/apache/beam/sdks/v2/go/cmd/prism@v{apache_beam.__version__}`"
        ) from error
