"""Use cases of the knowledge base: sources, imports, indexing, embedding, search, gaps, and answers of solved
tickets."""
