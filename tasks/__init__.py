"""Task specs (one YAML file each) and the registry that Inspect loads."""
