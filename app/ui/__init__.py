"""The web page. The only package here that imports gradio.

Telemetry is switched off before gradio is first imported: the app works offline and reports
nothing.
"""

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
