"""Sphinx: mkdocs-material is at the end of its life and its successor is young; Sphinx with MyST is maintained."""

project = "elman"
copyright = "the elman authors, Apache-2.0"
extensions = ["myst_parser"]
html_theme = "alabaster"
html_theme_options = {
    "description": "Recurrent networks in Keras 3, from data to the device",
    "page_width": "1180px",
    "body_max_width": "none",
}
html_show_sphinx = False
html_copy_source = False
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]
nitpicky = True
highlight_language = "text"
exclude_patterns = ["build.py"]
