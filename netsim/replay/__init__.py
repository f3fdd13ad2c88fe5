"""A run's clock without its training: the learner is asked again, and what was learnt is read from the records."""
