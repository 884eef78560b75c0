"""``python -m pipeline``, and the program ``beam-ner``."""

import sys

from pipeline.process.local_addresses import spare_local_addresses
from pipeline.process.signals import end_on_signals
from pipeline.process.standard_error import drop_what_cannot_be_written, escape_what_cannot_be_encoded


def main() -> int:
    """Runs the program in its own process; see `pipeline.run.main`."""
    end_on_signals(sys.argv[1:])
    drop_what_cannot_be_written()
    escape_what_cannot_be_encoded()
    spare_local_addresses()
    from pipeline.run import main as run  # loads Beam, which takes seconds

    return run()


if __name__ == "__main__":
    sys.exit(main())
