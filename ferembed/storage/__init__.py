"""Files on disk: safe writing, weights and their downloads, the store of embeddings."""
