"""Alignments of a whole captioned data set, kept in a run folder and found again quickly."""
