"""What a run's photos hold, kept so that later words, boxes and classes need no model."""
