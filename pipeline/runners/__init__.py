"""The runners: which one a run gets, and the machines, processes and memory that it asks for."""
