"""Export packed models to C, to a web page, and to ONNX."""

from minibnn.export.c import export_c
from minibnn.export.html import export_html
from minibnn.export.onnx import export_onnx

__all__ = ["export_c", "export_html", "export_onnx"]
