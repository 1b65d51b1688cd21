"""What is learned from reviewed tasks."""
