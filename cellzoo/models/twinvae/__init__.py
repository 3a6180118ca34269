"""Twin-VAE: its section of a recipe, and what it builds or fits."""
