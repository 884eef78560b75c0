"""What an engine may raise."""


class ConversionError(ValueError):
    """OpenVINO cannot convert a model, or the converted one gives other logits."""


class OutOfMemoryError(RuntimeError):
    """A batch does not fit in the device's memory; a smaller one may."""


class BatchTimeoutError(RuntimeError):
    """A batch took longer than it may."""


class ModelHungError(RuntimeError):
    """The model hung so often, or so badly, that this process must not go on with it."""
