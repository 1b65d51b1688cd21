"""Pure functions on boxes, anchors and overlaps; tensors in, tensors out."""
