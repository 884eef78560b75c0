"""The formats of files. Each module reads and writes one format."""
