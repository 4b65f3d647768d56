"""Input codes: numbers become signs by comparisons, fitted to the training data."""

from minibnn.encoding.base import Fitted, fit_codes
from minibnn.encoding.one_hot import OneHotCode
from minibnn.encoding.standardize import Standardize
from minibnn.encoding.thermometer import Thermometer

__all__ = ["Fitted", "OneHotCode", "Standardize", "Thermometer", "fit_codes"]
