"""The container: what it is given, that it needs no user of its own, and that its steps work."""

import re

import pytest

from tests import container_steps

DOCKERFILE = (container_steps.ROOT / "Dockerfile").read_text()


def test_it_is_given_the_package_and_nothing_else():
    names = {path.relative_to(container_steps.ROOT).parts[0] for path in container_steps.context()}
    assert names == {
        *("configs", "datasets", "dtc_jax", "launch.py", "setup.cfg", "setup.py"),
        *("pyproject.toml", "requirements.txt", "README.md", "LICENSE"),
    }


def test_it_runs_as_a_number_that_is_not_root():
    found = dict(container_steps.instructions(DOCKERFILE))
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", found["USER"])
    assert "useradd" not in DOCKERFILE


def test_its_extras_are_those_of_the_package():
    setup = (container_steps.ROOT / "setup.cfg").read_text()
    (extras,) = re.findall(r"^ARG EXTRAS=(.*)$", DOCKERFILE, re.MULTILINE)
    for extra in extras.split(","):
        assert re.search(rf"^{extra} =", setup, re.MULTILINE), extra


@pytest.mark.extras
def test_its_steps_give_a_command_that_works(tmp_path, classifier, chests):
    image = container_steps.build(tmp_path / "image")
    shown = image.run("--help")
    assert shown.returncode == 0, shown.stderr
    assert "dtc-jax train --config=configs/senet.py:demo" in shown.stdout
    given = (f"--scan={chests / '0.nii.gz'}", f"--lesions={chests / '0-mask.nii.gz'}")
    done = image.run("predict", *given, f"--classifier={classifier.workdir}", "--out=answer")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "image" / "work" / "answer" / "review.html").is_file()
    assert "Everything is in" in done.stdout
