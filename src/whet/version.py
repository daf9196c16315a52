"""The version, on a floor below everything: nothing imports it upwards."""

__version__ = "0.1.0"
