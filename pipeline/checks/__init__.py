"""The checks of flags before any worker starts: one module for each subject.

Each check raises ValueError with one sentence that starts with the flag.
"""
