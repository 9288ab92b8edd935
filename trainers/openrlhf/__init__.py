"""The distributed engine: OpenRLHF (Ray, DeepSpeed, vLLM), patched through subclasses."""
