"""From a picture and words to boxes: opening, letterboxing, scoring, the `Predictor`."""
