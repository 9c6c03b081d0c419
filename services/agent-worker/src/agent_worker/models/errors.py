"""What is wrong with the configuration of a model."""


class ModelChoiceError(ValueError):
    """There is no such model, or it can't be used as it is configured."""
