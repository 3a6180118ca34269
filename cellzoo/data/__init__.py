"""What a model is fed: image folders, simulated and synthetic images, splits and batches."""
