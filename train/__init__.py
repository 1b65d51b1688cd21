"""Pre-training, evaluation and their data; `python -m train.<command>`."""
