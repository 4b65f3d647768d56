"""Export packed models to C, to a web page, and to ONNX; and films of trainings to a page."""

from minibnn.export.c import export_c
from minibnn.export.html import export_html
from minibnn.export.onnx import export_onnx
from minibnn.export.training_page import export_training_page

__all__ = ["export_c", "export_html", "export_onnx", "export_training_page"]
