"""Time-lapses: what the counts of a chamber say of the growth in it."""
