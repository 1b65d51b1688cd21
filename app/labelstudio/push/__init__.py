"""A run's boxes on their way into a project."""
