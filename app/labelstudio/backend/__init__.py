"""The live backend: Label Studio asks, the detector answers."""
