"""Several looks at one photo: other sizes and tiles. Not in the paper."""
