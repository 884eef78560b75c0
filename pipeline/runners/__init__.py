"""The choice of a runner, and of its machines, processes and memory."""
