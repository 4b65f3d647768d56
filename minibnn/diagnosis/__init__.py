"""Find what keeps a binary network from learning, from one batch."""

from minibnn.diagnosis.diagnose import diagnose
from minibnn.diagnosis.report import Diagnosis, Finding

__all__ = ["Diagnosis", "Finding", "diagnose"]
