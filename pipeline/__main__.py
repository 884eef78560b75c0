"""``python -m pipeline``, and the program ``beam-ner``."""

import sys

from pipeline.process.local_addresses import spare_local_addresses
from pipeline.process.output import guard_output
from pipeline.process.signals import end_on_signals


def main() -> int:
    """Runs the program in its own process; see `pipeline.run.main`."""
    guard_output()
    end_on_signals(sys.argv[1:])
    spare_local_addresses()
    from pipeline.run import main as run  # loads Beam, which takes seconds

    return run()


if __name__ == "__main__":
    sys.exit(main())
