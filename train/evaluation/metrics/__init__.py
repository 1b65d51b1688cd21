"""What is measured: COCO and LVIS AP, class-agnostic AR, phrase recall, one function each."""
