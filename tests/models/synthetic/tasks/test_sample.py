"""Sampling tasks: until there are enough, each its own, the same again."""

from __future__ import annotations

from collections import Counter

import pytest

from models.synthetic.draws import Fixed
from models.synthetic.streams import Streams
from models.synthetic.tasks import Checks, Grammar, Labeller, NoTask, Reason, sample_tasks
from models.synthetic.tasks.question import Aggregate
from tests.models.synthetic.tasks.market import market


@pytest.fixture(scope="module")
def database():
    return market()


@pytest.fixture(scope="module")
def found(database):
    return sample_tasks(database, Streams(1), 6, tries=200)


def test_tasks_are_drawn_until_enough_pass(found):
    assert len(found.tasks) == 6
    assert all(sampled.report.accepted for sampled in found.tasks)


def test_rejected_tasks_are_counted_by_reason(database, found):
    """Drawn again one by one; a task with several faults counts for each."""
    expected: Counter[Reason] = Counter()
    passed, seen = 0, []
    with Labeller(database) as labeller:
        for number in range(found.tries):
            try:
                task = Grammar()(labeller, Streams(1).generator("try", str(number)))
            except NoTask:
                expected[Reason.NO_TASK] += 1
                continue
            if task in seen:
                expected[Reason.DUPLICATE] += 1
                continue
            seen.append(task)
            faults = Checks()(database, task, labeller.table(task)).faults
            expected.update(list(faults))
            passed += not faults
    assert passed == 6
    assert found.rejected == expected
    assert len(expected) >= 3


def test_tries_run_out(database):
    found = sample_tasks(database, Streams(1), 50, checks=Checks(rows=10**6), tries=12)
    assert (found.tasks, found.tries) == ((), 12)
    assert found.rejected[Reason.FEW_ROWS] > 5


def test_tasks_that_are_alike_have_different_names(database):
    grammar = Grammar(
        autocomplete=Fixed(False),
        aggregate=Fixed(Aggregate.NONE),
        hops=Fixed(1),
        conditional=Fixed(False),
        active_windows=Fixed(0),
    )
    tasks = [one.task for one in sample_tasks(database, Streams(1), 9, grammar).tasks]
    assert len(tasks) == 9
    # Three ways to have an activity, many windows.
    assert len({task.name.rstrip("-0123456789") for task in tasks}) <= 3
    assert len({task.name for task in tasks}) == 9


def test_a_greater_count_begins_with_the_same_tasks(database, found):
    few = sample_tasks(database, Streams(1), 2, tries=200).tasks
    for one, other in zip(few, found.tasks, strict=False):
        assert one.task == other.task
        assert one.labels.equals(other.labels)
        assert one.report == other.report
    others = sample_tasks(database, Streams(3), 2, tries=200).tasks
    assert [one.task for one in others] != [one.task for one in few]


def test_a_negative_count_is_refused(database):
    with pytest.raises(ValueError, match="count"):
        sample_tasks(database, Streams(1), -1)
