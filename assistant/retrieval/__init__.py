"""Finding the passages that answer: by exact identifiers, by words and by meaning."""
