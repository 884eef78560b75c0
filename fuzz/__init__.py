"""Fuzzes the parsers of untrusted bytes: ``make fuzz``."""
