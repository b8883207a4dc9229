"""The other local models: embeddings, the reranker, photo features, and the small model's own sight."""
