"""The Explore tab: what an indexed run holds, and a run that learns while one reviews."""
