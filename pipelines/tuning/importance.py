"""How much each searched field matters."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.figures.parallel import Scale
from pipelines.settings.search import identity
from pipelines.tuning.trials import Trial

FEWEST = 6
"""Finished trials, below which nothing is said."""
TREES, REPEATS = 100, 10


def field_importance(trials: Sequence[Trial], scales: Mapping[str, Scale]) -> dict[str, float] | None:
    """Each field's share of what the searched fields together explain of the objective, 0 to 1, summing to 1.

    A random forest is fitted to the finished trials' settings (Breiman 2001), and a field matters as much as the fit
    gets worse when its values are shuffled among the trials. What is fitted are the objective's ranks, or one trial
    that broke down would decide. That is a hint and no measurement: with few trials a
    field that does nothing gets a share too, and of two that were varied alike each may get the other's. How many
    epochs a trial was trained for is known to the forest where that differs, and is given no share.

    `scales` has the fields by dotted name: those of scale `log` count by their logarithms, those of scale `choice` and
    all that are no numbers by which value it is. None with fewer than `FEWEST` finished trials, and where the
    objective is the same in all of them or none of the fields explains any of it.
    """
    finished = [trial for trial in trials if trial.objective is not None and np.isfinite(trial.objective)]
    objective = np.array([trial.objective for trial in finished])
    if len(finished) < FEWEST or np.ptp(objective) == 0 or not scales:
        return None
    # scikit-learn takes a second to import.
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    columns, categorical = [], []
    for place, (field, scale) in enumerate(scales.items()):
        column, is_category = _column([trial.settings.get(field) for trial in finished], scale)
        columns.append(column)
        if is_category:
            categorical.append(place)
    columns.append(np.array([float(trial.epochs) for trial in finished]))
    settings, ranks = np.stack(columns, axis=1), np.unique(objective, return_inverse=True)[1]
    # Each category is one column when it is shuffled, and several only inside the pipeline.
    encoder = ColumnTransformer(
        [("categories", OneHotEncoder(handle_unknown="ignore"), categorical)], remainder="passthrough"
    )
    forest = make_pipeline(encoder, RandomForestRegressor(TREES, min_samples_leaf=2, random_state=0))
    forest.fit(settings, ranks)
    shuffled = permutation_importance(forest, settings, ranks, n_repeats=REPEATS, random_state=0)
    worse = np.maximum(shuffled.importances_mean[: len(scales)], 0.0)
    if worse.sum() == 0:
        return None
    return dict(zip(scales, map(float, worse / worse.sum()), strict=True))


def _column(values: Sequence[object], scale: Scale) -> tuple[np.ndarray, bool]:
    """A field's values as numbers, and whether they are numbers of categories. Of a trial that did not have the field:
    NaN, which the forest can tell from any number, or a category of its own."""
    there = [value for value in values if value is not None]
    if scale == "choice" or any(isinstance(value, bool) or not isinstance(value, int | float) for value in there):
        texts = ["" if value is None else identity(value) for value in values]
        return np.unique(texts, return_inverse=True)[1].astype(float), True
    numbers = np.array([np.nan if value is None else value for value in values], float)
    return (np.log(numbers) if scale == "log" and np.nanmin(numbers, initial=np.inf) > 0 else numbers), False
