"""Updates: who signed an image (lms), what is in it (image), which slot runs (boot), how it changes (slots)."""
