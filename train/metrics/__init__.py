"""What is measured: COCO AP and AR, phrase recall, one function each."""
