"""The training loop; it knows no model."""
