"""How a model learns: losses, optimisers, the training itself and the folders it leaves."""
