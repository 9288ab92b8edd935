"""What a recipe's stages will need on given machines: memory and time, before anything is run."""
