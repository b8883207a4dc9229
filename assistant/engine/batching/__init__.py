"""The batching engine: one model, many requests at once."""
