"""A checkpoint is evaluated on other data of its kind, without the data of its run."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_diabetes, load_digits, load_wine

from tests.support.sessions import MakeSession, Session
from torchconsole.engine.analysis.checkpoint_reports import evaluate_checkpoint
from torchconsole.engine.analysis.other_data import UNWEIGHTED, evaluate_on
from torchconsole.engine.errors import DataError
from torchconsole.engine.protocol.model_reports import EvaluationReport
from torchconsole.engine.run.names import BEST

MLP = "model={name='MLP', hidden=[8]}"
WINES = ["barolo", "grignolino", "barbera"]


def trained(session: MakeSession, *overrides: str) -> Session:
    done = session("training.epochs=2", "early_stopping=", *overrides)
    done.trainer.run()
    return done


def on(done: Session, path: Path) -> EvaluationReport:
    return evaluate_on(done.checkpoints / BEST, path, "auto", None)


def wine(path: Path, rows: range, **changes: str) -> Path:
    """Write some of the wines; `changes` are other classes of rows."""
    data = load_wine()
    lines = [f"a,b,{','.join(f'x{number}' for number in range(11))},target"]
    for row in rows:
        name = changes.get(f"row{row}", WINES[data.target[row]])
        lines.append(",".join([*map(str, data.data[row]), name]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_the_validation_images_give_the_figures_of_the_run(session: MakeSession, tmp_path: Path) -> None:
    draw, root = random.Random(1), tmp_path / "images"
    for part in ("train", "val"):
        for name, level in (("cat", 110), ("dog", 130), ("owl", 150)):
            (root / part / name).mkdir(parents=True)
            for number in range(9):
                pixels = bytes(min(255, max(0, int(draw.gauss(level, 60)))) for _ in range(3 * 8 * 8))
                Image.frombytes("RGB", (8, 8), pixels).save(root / part / name / f"{number}.png")
    done = trained(session, "data.name=ImageFolder", f"data.root={root}", MLP)
    expected = evaluate_checkpoint(done.checkpoints / BEST, "val", "auto")
    found = on(done, root / "val")
    assert found.metrics == {
        name.replace("val/", "other/"): value for name, value in expected.metrics.items()
    }
    assert (found.per_class, found.confusions, found.worst) == (
        expected.per_class,
        expected.confusions,
        expected.worst,
    )
    assert (found.part, found.data, found.samples, found.failed) == ("other", str(root / "val"), 27, [])
    (root / "val" / "owl" / "9.png").write_bytes(b"no image")
    found = on(done, root / "val")
    assert (found.samples, [Path(each.file).name for each in found.failed]) == (27, ["9.png"])
    with pytest.raises(DataError, match="folder train is none of the run's classes"):
        on(done, root)
    with pytest.raises(DataError, match="not in a folder of a class; name a folder that has a folder for"):
        on(done, root / "val" / "cat")


def test_a_table_may_lack_classes_of_the_run(session: MakeSession, tmp_path: Path) -> None:
    file = wine(tmp_path / "wine.csv", range(178))
    done = trained(
        session, "data.name=CSV", f"data.root={file}", "data.target=target", MLP, "loss.weight=balanced"
    )
    found = on(done, wine(tmp_path / "some.csv", range(60, 178)))
    assert [(each.name, each.samples) for each in found.per_class] == [
        ("barbera", 48),
        ("barolo", 0),
        ("grignolino", 70),
    ]
    assert found.worst[0].place.startswith(f"{tmp_path / 'some.csv'} line ")
    assert found.changes == [UNWEIGHTED]
    whole = on(done, file)
    expected = evaluate_checkpoint(done.checkpoints / BEST, "val", "auto")
    correct = sum(each.samples for each in whole.per_class) - sum(pair.samples for pair in whole.confusions)
    assert whole.metrics["other/accuracy"] == pytest.approx(correct / 178)
    for each in expected.worst:
        line = int(each.place.split()[1])
        alone = on(done, wine(tmp_path / "one.csv", range(line - 2, line - 1)))
        assert (alone.worst[0].label, alone.worst[0].predicted) == (each.label, each.predicted)
        assert alone.worst[0].probability == pytest.approx(each.probability, abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"row3": "barollo"}, "class 'barollo' is none of the run's classes, did you mean 'barolo'?"),
        ({"row3": ""}, "has no target in line 5; fill it in, or remove the row"),
    ],
)
def test_targets_that_are_not_those_of_the_run_are_refused(
    session: MakeSession, tmp_path: Path, changes: dict[str, str], reason: str
) -> None:
    file = wine(tmp_path / "wine.csv", range(178))
    done = trained(session, "data.name=CSV", f"data.root={file}", "data.target=target", MLP)
    with pytest.raises(DataError) as error:
        on(done, wine(tmp_path / "other.csv", range(9), **changes))
    assert reason in str(error.value)
    (tmp_path / "none.csv").write_text("a,b,c\n1,2,3\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"none\.csv: .* no columns 'target', 'x0', .*, 'x10'; available"):
        on(done, tmp_path / "none.csv")
    with pytest.raises(DataError, match="no sample can be read: there is no such file"):
        on(done, tmp_path / "missing.csv")


def test_the_targets_of_a_regression_are_scaled_as_in_the_run(session: MakeSession, tmp_path: Path) -> None:
    done = trained(session, "data.name=diabetes", "model={name='MLP'}", "loss.name=auto")
    data = load_diabetes()
    np.savez(tmp_path / "all.npz", inputs=data.data, targets=data.target)
    found = on(done, tmp_path / "all.npz")
    whole = [evaluate_checkpoint(done.checkpoints / BEST, part, "auto") for part in ("train", "val")]  # type: ignore[arg-type]
    for name in ("loss", "mae"):
        sums = [each.samples * (each.metrics[f"{each.part}/{name}"] or 0) for each in whole]
        assert found.metrics[f"other/{name}"] == pytest.approx(sum(sums) / 442, rel=1e-4)
    assert found.loss_unit == "standardized targets"


def test_labels_of_an_archive_must_be_those_of_the_run(session: MakeSession, tmp_path: Path) -> None:
    done = trained(session)
    data = load_digits()
    images = torch.from_numpy(data.images).float().unsqueeze(1).numpy()
    np.savez(tmp_path / "some.npz", inputs=images[:99], targets=data.target[:99])
    assert on(done, tmp_path / "some.npz").samples == 99
    np.savez(tmp_path / "some.npz", inputs=images[:99], targets=data.target[:99] + 5)
    with pytest.raises(DataError, match=r"the targets of some\.npz are no labels from 0 to 9"):
        on(done, tmp_path / "some.npz")
