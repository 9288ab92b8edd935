"""The embedded engine: one process, CPU or one GPU, a Hugging Face model, no server."""
