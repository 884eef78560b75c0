"""What is looked at before any worker starts: one module a kind of place.

Every check raises ValueError with one sentence. A flag is named there as the argument it is (`input=…`); the caller
makes a flag of it.
"""
