"""The Label Studio tab."""
