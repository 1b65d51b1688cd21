"""What people decided about a run's boxes; learning, exports and pages read it."""
