"""What an engine may raise."""


class ConversionError(ValueError):
    """OpenVINO cannot convert a model, or the converted one gives other logits."""


class OutOfMemoryError(RuntimeError):
    """A batch does not fit in the device's memory; a smaller one may."""
