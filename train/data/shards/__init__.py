"""Samples in sharded tars."""
