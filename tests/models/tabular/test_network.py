"""Networks over feature tables: they learn, they repeat themselves, they go on after a kill."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from numpy.testing import assert_array_equal

from models.database.schema import Protocol, TaskType
from models.families.bundle import RowsToPredict, load_bundle
from models.learning.labels import LabelEncoder
from models.learning.outcome import TargetScale
from models.reporting.scores import score
from models.tabular.network import LinearMap, make_network
from models.tabular.network_config import ARCHITECTURES, NetworkConfig
from models.tabular.network_encoding import NetworkEncoder
from models.tabular.network_learner import NetworkObjective, NetworkProblem, train_one_seed
from models.tabular.network_training import train_network_bundle
from tests.models.tabular.trained import AS_OF, make_task

SMALL = {
    "seeds": 2,
    "channels": 8,
    "layers": 1,
    "epochs": 5,
    "batch_size": 32,
    "learning_rate": 0.01,
    "device": "cpu",
    "warm_up_steps": 0,
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def problem(task_type, rows=300):
    """A signal in a number, in a gap and in a category."""
    random = np.random.default_rng(0)
    encoder, numbers, codes, labels = None, {}, {}, {}
    for name in ("train", *Protocol):
        x = random.normal(size=(rows, 4)).astype(np.float32)
        x[random.random(rows) < 0.3, 1] = np.nan
        x[:, 3] = random.integers(0, 3, rows)
        value = 1.5 * x[:, 0] + 2 * np.isnan(x[:, 1]) + (x[:, 3] == 2) + random.normal(0, 0.2, rows)
        encoder = encoder or NetworkEncoder.fit(x, {3: 4})
        numbers[str(name)], codes[str(name)] = encoder.transform(x)
        if task_type == TaskType.REGRESSION:
            labels[str(name)] = 100 + 10 * value
        else:
            bounds = [0.5] if task_type == TaskType.BINARY_CLASSIFICATION else [0.0, 1.5]
            labels[str(name)] = np.digitize(value, bounds).astype(float)
    classes = {TaskType.REGRESSION: 0, TaskType.BINARY_CLASSIFICATION: 2}.get(task_type, 3)
    metric, scale = make_task(task_type).metric, TargetScale.fit(task_type, labels["train"])
    return NetworkProblem(encoder, numbers, codes, labels, task_type, metric, classes, scale)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("task_type", list(TaskType))
def test_it_learns_from_numbers_gaps_and_categories(architecture, task_type):
    # A step moves a weight by about the learning rate, and a linear map starts from zero.
    steps = {"learning_rate": 0.05, "dropout": 0.0, "weight_decay": 0.0}
    steps = steps if architecture == "linear" else {}
    config = NetworkConfig.of(architecture, **{**SMALL, "epochs": 12, **steps})
    found = train_one_seed(0, problem(task_type), config, None)
    for protocol in Protocol:
        reached = found.validation_scores[protocol]
        if task_type == TaskType.REGRESSION:
            assert reached < 6  # of labels that deviate by 18 from their median
        else:
            assert reached > (0.95 if task_type == TaskType.BINARY_CLASSIFICATION else 0.75)
    assert len(found.curve["train"]) == len(found.curve["frozen"])


def test_a_linear_map_adds_up_its_inputs_and_tells_categories_and_their_gaps_apart():
    encoder = NetworkEncoder.fit(np.array([[0.0, 1, 0], [1.0, 0, 1]], np.float32), {1: 2, 2: 2})
    module = LinearMap(encoder, outputs=1, dropout=0.5).eval()
    numbers, codes = torch.tensor([[2.0], [3.0]]), torch.tensor([[0, 1], [-1, -1]])
    assert torch.equal(module(numbers, codes), torch.zeros(2, 1))
    with torch.no_grad():
        module.numbers.weight.fill_(10.0)
        # Gap, first and second value of the one category, then of the other.
        module.categories.weight.copy_(torch.arange(1.0, 7.0)[:, None])
    assert module(numbers, codes).flatten().tolist() == [20 + 2 + 6, 30 + 1 + 4]
    assert [name for name, _ in module.named_parameters()] == [
        "numbers.weight", "numbers.bias", "categories.weight"
    ]  # fmt: skip


def test_bent_outputs_bring_a_linear_map_to_amounts_with_a_long_tail():
    steps = {"epochs": 20, "learning_rate": 0.05, "dropout": 0.0, "weight_decay": 0.0}
    config = NetworkConfig.of("linear", **{**SMALL, **steps})
    made = problem(TaskType.REGRESSION)
    amounts = {name: np.exp((labels - 100) / 20) for name, labels in made.labels.items()}
    errors = {}
    for bent in (False, True):
        scale = TargetScale.fit(TaskType.REGRESSION, amounts["train"], bent=bent)
        case = replace(made, labels=amounts, scale=scale)
        errors[bent] = train_one_seed(0, case, config, None).validation_scores[Protocol.ROLLING]
    assert errors[True] < 0.85 * errors[False]


@pytest.mark.parametrize("architecture", ["linear", "resnet"])
def test_an_averaged_network_hardly_depends_on_where_its_last_step_went(architecture):
    # A refit takes the state after a fixed number of epochs, which no validation looks at.
    steps = {"learning_rate": 0.03, "epochs": 12, "patience": 12}
    made = problem(TaskType.REGRESSION)

    def unevenness(averaging):
        config = NetworkConfig.of(architecture, **SMALL | steps | {"averaging": averaging})
        curve = train_one_seed(0, made, config, None).curve
        return np.abs(np.diff(curve[Protocol.ROLLING][4:])).mean()

    assert unevenness(0.98) < 0.7 * unevenness(0.0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_seed_gives_one_model_also_after_a_kill(architecture, tmp_path):
    config = NetworkConfig.of(architecture, **SMALL)
    made = problem(TaskType.BINARY_CLASSIFICATION)
    whole = train_one_seed(1, made, config, None)

    def killed(line):
        if line.startswith("epoch 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_one_seed(1, made, config, tmp_path, killed)
    resumed: list[str] = []
    again = train_one_seed(1, made, config, tmp_path, resumed.append)
    assert resumed[0].startswith("resumed after")
    assert again.validation_scores == whole.validation_scores
    assert again.best_rounds == whole.best_rounds
    for protocol in Protocol:
        for name, tensor in whole.states[protocol].items():
            assert torch.equal(tensor, again.states[protocol][name])
    other = train_one_seed(2, made, config, None)
    assert other.validation_scores != whole.validation_scores


def train(made, folder, threads=1, **settings):
    config = NetworkConfig.of(**{"architecture": "resnet", **SMALL, **settings})
    table = made.features
    return train_network_bundle(made.task, made.table, table, AS_OF, config, folder, threads)


@pytest.mark.parametrize("kind", list(TaskType))
def test_a_bundle_predicts_what_training_scored_and_scores_from_tables(trained, kind, tmp_path):
    made = trained[kind]
    metadata = train(made, tmp_path / "bundle", max_columns=20, epochs=15, learning_rate=3e-3)
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.record["family"] == "resnet"
    assert len(bundle.features) == 20
    rows = made.table.filter(pl.col("split") == "val")
    labels = LabelEncoder(bundle.labels.classes).transform(rows["label"])
    classes = list(range(len(bundle.labels.classes)))
    for protocol in Protocol:
        seeds = rows.select("row_id", "entity", "cutoff_time", visible_until="cutoff_time")
        asked = RowsToPredict(seeds, features=made.features.under(protocol))
        raw = bundle.predict(asked, protocol)
        assert raw.shape[:2] == (2, rows.height)
        for guess, scored in zip(raw, metadata["validation_scores"], strict=True):
            found = score(kind, labels, guess, classes=classes)[made.task.metric]
            assert found == pytest.approx(scored[protocol], abs=1e-6)
    # The same rows from the tables alone.
    last = made.table.filter(pl.col("cutoff_time") == rows["cutoff_time"].max())
    seeds = last.select("row_id", "entity", "cutoff_time", visible_until="cutoff_time")
    asked = RowsToPredict(seeds, features=made.features.features)
    scored = bundle.score(made.files, last["entity"], last["cutoff_time"][0], threads=1)
    if kind != TaskType.MULTICLASS_CLASSIFICATION:
        here = bundle.predict(asked, Protocol.ROLLING).mean(axis=0)
        assert scored["prediction"].to_numpy() == pytest.approx(here, abs=1e-6)
    assert scored["prediction"].n_unique() > 1


@pytest.mark.parametrize("architecture", ["linear", "resnet"])
def test_only_a_linear_map_has_its_outputs_bent(trained, architecture, tmp_path):
    config = NetworkConfig.of(architecture, **SMALL | {"epochs": 1, "seeds": 1})
    made = trained[TaskType.REGRESSION]
    table = made.features
    train_network_bundle(made.task, made.table, table, AS_OF, config, tmp_path / "bundle", 1)
    assert (load_bundle(tmp_path / "bundle").scale.knee > 0) == (architecture == "linear")


def test_the_files_do_not_depend_on_the_number_of_threads(trained, tmp_path):
    made = trained[TaskType.BINARY_CLASSIFICATION]
    for threads in (1, 2):
        train(made, tmp_path / str(threads), threads=threads, epochs=2)
    files = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert files == ["bundle.json", "encoder.pt", "seed_0.pt", "seed_1.pt"]
    for name in files:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_labels_of_later_rows_change_only_which_epoch_is_kept(trained, tmp_path):
    made = trained[TaskType.REGRESSION]
    later = pl.when(pl.col("split") == "train").then("label").otherwise(100 - pl.col("label"))
    turned = replace(made, table=made.table.with_columns(label=later))
    for name, case in (("a", made), ("b", turned)):
        train(case, tmp_path / name, seeds=1, patience=None, max_columns=10)
    one, two = (load_bundle(tmp_path / name) for name in "ab")
    assert one.encoder == two.encoder
    assert one.scale == two.scale
    assert_array_equal(one.inputs.quantiles, two.inputs.quantiles)
    assert one.record["curves"][0]["train"] == two.record["curves"][0]["train"]
    assert one.record["curves"][0]["rolling"] != two.record["curves"][0]["rolling"]


@pytest.mark.parametrize("architecture", ["linear", "resnet"])
def test_a_network_may_have_no_category_or_no_number(architecture):
    config = NetworkConfig.of(architecture, **SMALL)
    for columns, categories in ((np.ones((4, 2)), {}), (np.ones((4, 1)), {0: 3})):
        matrix = columns.astype(np.float32) * np.arange(4, dtype=np.float32)[:, None] % 3
        encoder = NetworkEncoder.fit(matrix, categories)
        network = make_network(config, encoder, 2).eval()
        assert network(*encoder.transform(matrix)).shape == (4, 2)


def test_batches_are_smaller_where_rows_are_few():
    config = NetworkConfig(batch_size=256)
    assert [config.rows_per_batch(rows) for rows in (50_000, 2000, 100)] == [256, 100, 32]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "mlp"}, "architecture must be one of linear, resnet, ft_transformer"),
        ({"architecture": "ft_transformer", "channels": 30}, "multiple of its heads"),
        ({"channels": 0}, "channels must be at least 1"),
        ({"dropout": 1.0}, "dropout"),
        ({"schedule": "steps"}, "schedule must be one of"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        NetworkConfig(**settings)


def objective(made, staleness):
    config = NetworkConfig.of("resnet", **SMALL, staleness=staleness, dropout=0.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = made.network(config)
    return NetworkObjective(module.eval(), made, config, 0, torch.device("cpu"))


def with_stale(made):
    numbers = made.numbers | {"stale": torch.zeros_like(made.numbers["train"])}
    codes = made.codes | {"stale": torch.full_like(made.codes["train"], 1)}
    labels = made.labels | {"stale": made.labels["train"]}
    return replace(made, numbers=numbers, codes=codes, labels=labels)


def losses(one, epoch=0):
    return [float(one.loss(batch)[0].detach()) for batch in one.batches(epoch)]


def test_an_epoch_shows_a_share_of_the_rows_as_an_earlier_moment_saw_them():
    fresh = problem(TaskType.REGRESSION)
    made = with_stale(fresh)
    rows, marks = (torch.cat(part) for part in zip(*objective(made, 0.6).batches(0), strict=True))
    assert sorted(rows.tolist()) == list(range(300))
    assert marks.float().mean() == pytest.approx(0.6, abs=0.08)
    others = torch.cat([marks for _, marks in objective(made, 0.6).batches(1)])
    assert not torch.equal(marks, others)
    none, everything = losses(objective(made, 0.0)), losses(objective(made, 1.0))
    assert none == losses(objective(fresh, 0.6))
    stale = replace(
        fresh,
        numbers=fresh.numbers | {"train": made.numbers["stale"]},
        codes=fresh.codes | {"train": made.codes["stale"]},
    )
    assert everything == losses(objective(stale, 0.6))
    assert none != losses(objective(made, 0.6)) != everything
