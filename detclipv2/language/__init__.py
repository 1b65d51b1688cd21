"""From words to concepts: vocabularies, phrases of a caption, cached text embeddings."""
