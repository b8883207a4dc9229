"""Where articles come from: one module a kind of file or place. The face is `assistant.retrieval.loaders`."""
