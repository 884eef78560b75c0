"""``python -m pipeline.plan``."""

import sys

from pipeline.plan.command import main

if __name__ == "__main__":
    sys.exit(main())
