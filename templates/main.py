"""The program that the launcher of the Flex Template runs (FLEX_TEMPLATE_PYTHON_PY_FILE)."""

import sys

from pipeline.process.output import guard_output

if __name__ == "__main__":
    guard_output()
    from pipeline.launcher import launch  # loads Beam

    sys.exit(launch())
