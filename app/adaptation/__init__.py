"""Classes that are learned anew from reviewed boxes, over the index of a run; no model runs."""
