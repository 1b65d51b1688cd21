"""The annotation-assist app around the detector: a web page (`python -m app`) and a command line.

Only `app.ui` imports gradio; everything else runs without a browser.
"""
