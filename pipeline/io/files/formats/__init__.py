"""The formats of files, one module each, which reads and writes."""
