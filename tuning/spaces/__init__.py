"""A search space per application.

A space is a module with `OBJECTIVE` and `DIRECTION` (`min` or `max`), the metric that decides; `COMPARABLE`, the fields
in which two configurations must agree for their validation losses to be compared; `sample(hp, base) -> Config`, which
names the hyperparameters (see `space.Hyperparameters`); and `score(engine, config, data, split) -> dict`, the metrics
on `validation` (what the search sees) or `test` (what only the report sees).
"""
