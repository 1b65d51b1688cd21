"""What runs the image tower beside PyTorch."""
