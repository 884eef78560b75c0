"""A plugin that Beam imports at the start of a worker process, if an account is impersonated.

Beam keeps the first credentials of a process for all its clients. Some of its own steps ask for them without the
pipeline's options, and would get the worker's own account. So the import asks first, with the options.
"""

from pipeline.io.credentials import impersonated_credentials

impersonated_credentials()
