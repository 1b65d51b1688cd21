"""Readers, transforms and sampling: from files to the one Sample type."""
