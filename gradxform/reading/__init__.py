"""What a transform and its state have to tell: metrics, hyperparameters, memory."""
