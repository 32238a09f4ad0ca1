"""What is done to a network: recipes, data, training, tracking, tuning, release, and the command `zoo`."""
