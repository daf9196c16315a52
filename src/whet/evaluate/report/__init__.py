"""An evaluation as HTML, Markdown and pictures."""
