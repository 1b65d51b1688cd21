"""How the concept dictionary and ImageNet's everyday words are made."""
