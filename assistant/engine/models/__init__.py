"""The other local models: OCR, embeddings, the reranker, photo features, and the small model's own sight."""
