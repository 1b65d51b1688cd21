"""One reader a data set format; each gives Samples."""
