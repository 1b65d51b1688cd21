"""What files look like: data sets, drawings, vocabularies. Nothing of runs or servers."""
