"""The program: from flags to a graph of transforms, from files to entities."""

import warnings

# Google's libraries announce the end of their support for old Pythons on stderr, once for each of them.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.api_core")

PROGRAM = "beam-ner"
