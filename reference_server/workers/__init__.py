"""Background work: tasks are claimed, run and recorded, and rescued when their worker is gone."""
