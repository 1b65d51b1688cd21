"""Experiments, one Python function each."""
