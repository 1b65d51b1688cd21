"""Readers that the app and training share."""
