"""The recipe: pure algorithm files, one concept each, and the engines that run them."""
