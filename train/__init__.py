"""Pre-training, evaluation and their data; `python -m train.<command>`."""

from train.moved import tell_new_names

tell_new_names()
