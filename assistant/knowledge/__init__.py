"""Use cases of the knowledge base: sources, importing, indexing, embedding, search, and the articles still to write."""
