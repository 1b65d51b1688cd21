"""The network in the order the pixels walk: backbone, pyramid, head; and the text tower."""
