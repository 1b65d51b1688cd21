"""The Detect tab."""
