"""What the embedded checkpoint has beyond the paper."""
