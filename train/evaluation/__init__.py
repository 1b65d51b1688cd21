"""Zero-shot figures and calibration."""
