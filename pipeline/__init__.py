"""The command-line program: it reads flags, builds a graph of transforms, and writes entities."""

import warnings

# Google's libraries warn on stderr that their support for old Pythons will end, one warning for each library.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.api_core")

PROGRAM = "beam-ner"
