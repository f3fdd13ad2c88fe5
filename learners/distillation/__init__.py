"""Learning by distillation: a different network on every device, which learn from each other's predictions."""
