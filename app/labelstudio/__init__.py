"""Label Studio: predictions in, labels out. Imports neither gradio nor torch."""
