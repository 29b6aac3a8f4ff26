"""What a transform is: records, rules, the engine that runs them, and chains."""
