"""Detection jobs on disk: a run is a folder that survives kills and feeds every export."""
