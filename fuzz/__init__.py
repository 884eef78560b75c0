"""What reads bytes that anyone may have written, with bytes that nobody would write: ``make fuzz``."""
