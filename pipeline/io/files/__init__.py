"""Files on any file system that Beam supports."""
