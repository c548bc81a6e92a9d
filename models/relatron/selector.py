"""The selector: signals and the bank's gaps in, the branches to search and their expected regret out.

It predicts how large the gap is, not who wins: a near-tie then teaches little and costs little. It
goes on from the selector of Relatron (ICLR 2026, Section 4), a classifier of winners, which always
names one; this one leaves out what can be left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl

from models.relatron.decision import Decision, Neighbour, percent
from models.relatron.gap_model import GapModel, GapRows, fit_gap_model
from models.relatron.nearness import distances, spread
from models.relatron.task_rows import OTHERS, features_of
from models.search.space import Branch

THRESHOLD = 0.005
"""The largest expected regret, relative, with which branches are left out of the search.

Half of the hundredth that routing and search together may lose: a race loses something too.
"""
NEAREST = 5
SIZE = "log_rows"
"""The feature that every model reads: what is learned rather than fixed needs rows."""
_DRAWS = 4096
_OUTSIDE = 1.0
_SMALLEST_WEIGHT = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Selector:
    """A fitted selector.

    Attributes:
        protocol: The protocol of the gaps.
        names: The features, of which each model reads a few.
        rows: The bank's tasks that it was fitted on.
        features: Float64 (rows, names).
        models: A model of the gap to dfs of each other branch.
        correlation: Of the errors of the gaps of rdl and hybrid.
        synthetic: What became of the synthetic rows: `none`, `kept` or `dropped`.
    """

    protocol: str
    names: tuple[str, ...]
    rows: pl.DataFrame
    features: np.ndarray
    models: Mapping[Branch, GapModel]
    correlation: float
    synthetic: str

    def decide(
        self,
        task: pl.DataFrame,
        branches: Sequence[Branch] = tuple(Branch),
        threshold: float = THRESHOLD,
        forced: Branch | None = None,
    ) -> Decision:
        """Routes a task: names the fewest branches that are expected to lose little against all.

        Expected is the regret of the best of some branches against the best of all, over what the
        gaps may be. Where it is at most the threshold for one branch, that branch is searched
        alone; else for two, these race; else all do. So do all where a signal that the selector
        reads lies outside the range that it has seen.

        Args:
            task: One row, as of `models.relatron.task_rows.task_row`.
            branches: The branches that may be searched.
            threshold: The largest expected regret that is accepted.
            forced: The user's choice, which is followed; the prediction is made all the same.

        Raises:
            ValueError: There is no branch to choose from, or the forced one is not among them.
        """
        if not branches or (forced is not None and forced not in branches):
            raise ValueError(
                f"the forced branch {forced} is not one of those that may be searched: "
                f"{', '.join(map(str, branches)) or 'none'}"
            )
        own = self._features(task)
        means, errors = self.predict(own[None])
        gaps = self._draws(means[0], errors[0], branches)
        wins = np.bincount(gaps.argmax(axis=1), minlength=len(branches)) / _DRAWS
        probabilities = dict(zip(branches, wins.tolist(), strict=True))
        regrets = {one: _regret_of(gaps, branches, (one,)) for one in branches}
        fewest, loss = _fewest(gaps, branches, threshold)
        outside = self._outside(own, branches)

        reasons = self._words(means[0], errors[0], own, branches)
        if forced is not None:
            chosen: tuple[Branch, ...] = (forced,)
            reasons.append(f"{forced} was chosen by the user.")
        elif len(branches) == 1:
            chosen = tuple(branches)
            reasons.append(f"{branches[0]} is the only branch that may be searched.")
        elif outside:
            chosen = tuple(branches)
            reasons.append(f"All branches race, as the bank has no task like this: {outside}.")
        else:
            chosen = fewest
            reasons.append(_choice(fewest, branches, loss, threshold, probabilities))
        favourite = min(branches, key=lambda branch: (regrets[branch], branches.index(branch)))
        signal = self._signal()
        return Decision(
            branches=chosen,
            favourite=favourite,
            protocol=self.protocol,
            gaps={one: float(means[0, list(Branch).index(one)]) for one in branches},
            errors={one: float(errors[0, list(Branch).index(one)]) for one in branches},
            probabilities=probabilities,
            expected_regret=regrets,
            confidence=sum(probabilities[one] for one in chosen),
            nearest=self._nearest(own),
            reasons=tuple(reasons),
            signal=signal,
            value=float(own[self.names.index(signal)]),
            evidence=self.rows.select(
                "database",
                "task",
                "origin",
                pl.Series("value", self.features[:, self.names.index(signal)]),
                *[f"{kind}_{other}" for other in OTHERS for kind in ("gap", "error")],
            ),
        )

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard error of the gaps, Float64 (rows, branches in order); 0 for dfs."""
        means, errors = np.zeros((len(features), 3)), np.zeros((len(features), 3))
        for branch, model in self.models.items():
            place = list(Branch).index(branch)
            means[:, place], errors[:, place] = model.predict(features)
        return means, errors

    def predict_rows(self, rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """`predict` for rows of tasks; a feature that they lack is unknown."""
        return self.predict(_matrix(features_of(rows), self.names))

    def _features(self, task: pl.DataFrame) -> np.ndarray:
        if task.height != 1:
            raise ValueError(f"one task is routed at a time (got {task.height} rows)")
        return np.asarray(_matrix(features_of(task), self.names)[0])

    def _draws(
        self, means: np.ndarray, errors: np.ndarray, branches: Sequence[Branch]
    ) -> np.ndarray:
        """What the gaps may be: Float64 (draws, branches), the same draws for every task."""
        places = [list(Branch).index(branch) for branch in branches]
        normal = np.random.default_rng(0).standard_normal((_DRAWS // 2, 2))
        normal = np.concatenate([normal, -normal])
        normal[:, 1] *= math.sqrt(1 - self.correlation**2)
        normal[:, 1] += self.correlation * normal[:, 0]
        noise = np.column_stack([np.zeros(_DRAWS), normal])
        return np.asarray((means + errors * noise)[:, places])

    def _outside(self, own: np.ndarray, branches: Sequence[Branch]) -> str:
        """Signals that a model reads and that lie beyond all that it has seen, in words."""
        found = []
        read = {c for b, m in self.models.items() if b in branches for c in m.chosen}
        for column in sorted(read):
            seen = self.features[:, column]
            seen = seen[np.isfinite(seen)]
            room = _OUTSIDE * spread(self.features)[1][column]
            if own[column] < seen.min() - room or own[column] > seen.max() + room:
                found.append(
                    f"{self.names[column]} is {own[column]:.3g}, and was from {seen.min():.3g} to "
                    f"{seen.max():.3g}"
                )
        return "; ".join(found)

    def _words(
        self, means: np.ndarray, errors: np.ndarray, own: np.ndarray, branches: Sequence[Branch]
    ) -> list[str]:
        real = self.rows.filter(pl.col("origin") == "real")
        synthetic = {
            "none": "",
            "kept": f" and {self.rows.height - real.height} synthetic ones",
            "dropped": "; synthetic ones did not help and are left out",
        }[self.synthetic]
        found = [
            f"The bank has {real.height} tasks of {real['database'].n_unique()} real databases "
            f"under the {self.protocol} protocol{synthetic}."
        ]
        for branch, model in self.models.items():
            if branch not in branches:
                continue
            place = list(Branch).index(branch)
            found.append(
                f"{branch} is expected to do {_against_dfs(means[place])} (standard error "
                f"{percent(errors[place])[1:]}, {self.protocol})."
            )
            places = model.standardised(own[None])[0]
            for column, slope, value in zip(model.chosen, model.slopes, places, strict=True):
                name = self.names[column]
                found.append(
                    f"{name} is unknown, which adds to the error."
                    if math.isnan(value)
                    else f"{name} = {own[column]:.3g} is {value:+.1f} spreads from the bank's "
                    f"median, which moves the gap of {branch} by {percent(slope * value)}."
                )
            if not model.chosen:
                found.append(f"No signal of the bank tells how {branch} does: it is a mean gap.")
        return found

    def _nearest(self, own: np.ndarray) -> tuple[Neighbour, ...]:
        away = distances(self.features, own)
        order = np.argsort(away, kind="stable")[:NEAREST]
        return tuple(
            Neighbour(
                row["database"],
                row["task"],
                str(row["as_of"]),
                float(away[place]),
                {b: row[f"gap_{b}"] for b in OTHERS if row[f"gap_{b}"] is not None},
            )
            for place, row in zip(order, self.rows[order.tolist()].to_dicts(), strict=True)
            if math.isfinite(away[place])
        )

    def _signal(self) -> str:
        """The feature that moves the gaps the most; the size where none does."""
        moved = {
            self.names[column]: abs(slope)
            for model in self.models.values()
            for column, slope in zip(model.chosen, model.slopes, strict=True)
        }
        return max(moved, key=lambda name: moved[name]) if moved else SIZE


def _against_dfs(gap: float) -> str:
    share = percent(gap)
    if float(share.split()[0]) == 0:
        return "as well as dfs"
    return f"{share[1:]} {'better' if gap > 0 else 'worse'} than dfs"


def _regret_of(gaps: np.ndarray, branches: Sequence[Branch], some: Sequence[Branch]) -> float:
    """What the best of some branches is expected to lose against the best of all."""
    places = [branches.index(one) for one in some]
    return float((gaps.max(axis=1) - gaps[:, places].max(axis=1)).mean())


def _fewest(
    gaps: np.ndarray, branches: Sequence[Branch], threshold: float
) -> tuple[tuple[Branch, ...], float]:
    """The fewest branches whose expected regret is accepted, of equally few the best, and it."""
    for count in range(1, len(branches) + 1):
        regrets = {some: _regret_of(gaps, branches, some) for some in combinations(branches, count)}
        best = min(regrets, key=lambda some: regrets[some])
        if regrets[best] <= threshold:
            break
    return best, regrets[best]


def _choice(
    chosen: Sequence[Branch],
    branches: Sequence[Branch],
    loss: float,
    threshold: float,
    probabilities: Mapping[Branch, float],
) -> str:
    names = " and ".join(chosen)
    share = sum(probabilities[one] for one in chosen)
    if len(chosen) == len(branches):
        return (
            "All branches race: to leave one out is expected to lose more than "
            f"{percent(threshold)[1:]}."
        )
    which = "race, as one of them is" if len(chosen) > 1 else "is"
    against = "the others are" if len(branches) - len(chosen) > 1 else "the other is"
    return (
        f"{names} {which} the best branch with probability {share:.2f}; {against} left out, which "
        f"is expected to lose {percent(loss)[1:]}."
    )


def fit_selector(
    rows: pl.DataFrame,
    protocol: str,
    without: str | None = None,
    names: Sequence[str] | None = None,
) -> Selector:
    """Fits a selector on tasks of the bank.

    Synthetic tasks get weights by how much they resemble real ones (the odds of a logistic
    regression that tells them apart), and are used where the regret on left-out real databases is
    lower with them, or cannot be measured for want of two real databases.

    Args:
        rows: As of `models.relatron.task_rows.task_rows`; there may be none.
        protocol: The protocol to fit; rows of others are not read.
        without: A database that must not be looked at: that of the task to route, whose tasks' test
            scores may lie after the date that the decision is made at.
        names: The features that may be read, all where None.
    """
    own = rows.filter(pl.col("protocol") == protocol)
    if without is not None:
        own = own.filter(pl.col("database") != without)
    known = pl.any_horizontal(pl.col(f"gap_{branch}").is_not_null() for branch in OTHERS)
    own = own.filter(known).sort("origin", "database", "task", "as_of")
    frame = features_of(own)
    kept = [n for n in frame.columns if names is None or n in names or n == SIZE]
    features = frame.select(kept).to_numpy().reshape(own.height, len(kept))
    allowed = np.array([names is None or name in names for name in kept])

    real = (own["origin"] == "real").to_numpy()
    weights = np.where(real, 1.0, _resemblance(features, real))
    databases = own.select(pl.struct("origin", "database").rank("dense"))
    codes = databases.to_series().to_numpy().astype(np.int64)
    every = np.ones(own.height, dtype=bool)
    read = np.where(allowed, features, np.nan)
    always = [kept.index(SIZE)]
    fitted = _fit(own, read, codes, weights, every, always)
    synthetic = "none" if real.all() else "kept"
    if not real.all() and len(np.unique(codes[real])) >= 2:
        alone = _fit(own, read, codes, weights, real, always)
        if _regret(alone, own, real) <= _regret(fitted, own, real):
            fitted = {branch: (model, said[real]) for branch, (model, said) in alone.items()}
            own, features, synthetic = own.filter(real), features[real], "dropped"
    return Selector(
        protocol,
        tuple(kept),
        own,
        features,
        {branch: model for branch, (model, _) in fitted.items()},
        _correlation(fitted, own),
        synthetic,
    )


Fitted = Mapping[Branch, tuple[GapModel, np.ndarray]]


def _fit(
    rows: pl.DataFrame,
    features: np.ndarray,
    databases: np.ndarray,
    weights: np.ndarray,
    used: np.ndarray,
    always: Sequence[int],
) -> Fitted:
    """A model a branch, and what it says of each row without its database (NaN if not used)."""
    found = {}
    real = (rows["origin"] == "real").to_numpy()
    for branch in OTHERS:
        gaps = rows[f"gap_{branch}"].fill_null(math.nan).to_numpy()
        places = np.flatnonzero(used & np.isfinite(gaps))
        errors = rows[f"error_{branch}"].fill_null(0.0).to_numpy()
        model = fit_gap_model(
            GapRows(features, gaps, errors, databases, real, weights).take(places), always
        )
        left_out = np.full(rows.height, math.nan)
        left_out[places] = model.left_out
        found[branch] = (model, left_out)
    return found


def _regret(fitted: Fitted, rows: pl.DataFrame, real: np.ndarray) -> float:
    """The mean regret on real tasks, each predicted without its database.

    The branch with the largest expected gap is the one with the least expected regret.
    """
    predicted, gaps = [np.zeros(int(real.sum()))], [np.zeros(int(real.sum()))]
    for branch, (_, left_out) in fitted.items():
        predicted.append(np.nan_to_num(left_out[real], nan=-np.inf))
        gap = rows[f"gap_{branch}"].fill_null(math.nan).to_numpy()[real]
        gaps.append(np.nan_to_num(gap, nan=-np.inf))
    measured = np.stack(gaps)
    chosen = np.stack(predicted).argmax(axis=0)
    return float((measured.max(axis=0) - measured[chosen, np.arange(len(chosen))]).mean())


def _correlation(fitted: Fitted, rows: pl.DataFrame) -> float:
    """Of the errors for rdl and hybrid on left-out databases; shrunk towards 0 where few."""
    residuals = [
        rows[f"gap_{branch}"].fill_null(math.nan).to_numpy() - left_out
        for branch, (_, left_out) in fitted.items()
    ]
    both = np.isfinite(residuals[0]) & np.isfinite(residuals[1])
    first, second = residuals[0][both], residuals[1][both]
    norm = math.sqrt(float((first**2).sum() * (second**2).sum()))
    if norm == 0:
        return 0.0
    return float(first @ second) / norm * both.sum() / (both.sum() + 5)


def _resemblance(features: np.ndarray, real: np.ndarray) -> np.ndarray:
    """How much more likely a row is among the real than among the other rows, cut to [0.02, 1]."""
    from sklearn.linear_model import LogisticRegression

    if real.all() or not real.any():
        return np.ones(len(real))
    centre, scale, usable = spread(features)
    values = np.nan_to_num(np.clip((features - centre) / scale, -3, 3))[:, usable]
    if not usable:
        return np.ones(len(real))
    model = LogisticRegression(C=0.1, class_weight="balanced").fit(values, real)
    odds = np.exp(model.decision_function(values))
    return np.asarray(np.clip(odds, _SMALLEST_WEIGHT, 1.0))


def _matrix(frame: pl.DataFrame, names: Sequence[str]) -> np.ndarray:
    """The columns as Float64 (rows, names), NaN where there is no such column."""
    known = [
        pl.col(name) if name in frame.columns else pl.lit(math.nan).alias(name) for name in names
    ]
    return frame.select(known).to_numpy().reshape(frame.height, len(names))
