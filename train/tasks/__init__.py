"""One task a data type: a batch in, losses by name out."""
