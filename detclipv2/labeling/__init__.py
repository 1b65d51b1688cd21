"""What pre-labels are worth to the people who check them."""
