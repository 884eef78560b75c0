"""The program that the launcher of the Flex Template runs (FLEX_TEMPLATE_PYTHON_PY_FILE)."""

import sys

from pipeline.launcher import launch

if __name__ == "__main__":
    sys.exit(launch())
