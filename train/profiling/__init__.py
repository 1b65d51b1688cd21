"""What a run costs, and how fast its parts are."""
