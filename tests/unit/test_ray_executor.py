"""Ray as an executor: the kit's cases, and how it finds room for its actors. One Ray serves all tests here."""

import subprocess
import sys

import pytest

ray = pytest.importorskip("ray", reason="ray is not installed")

from cxrscore_ray import RayExecutor, actors  # noqa: E402

from cxrscore.contract import TaskBatch  # noqa: E402
from cxrscore.errors import InputError  # noqa: E402
from cxrscore.testing import ExecutorCases, executor_cases  # noqa: E402


@pytest.fixture(scope="module")
def one_ray():
    with actors._connected(None, 2):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("one_ray")
class TestRay(ExecutorCases):
    @pytest.fixture
    def executor(self, monkeypatch):
        monkeypatch.setattr(executor_cases, "TIMEOUT_SECONDS", 600)  # Ray ends its actors when it comes to it
        return RayExecutor()


@pytest.mark.parametrize(
    ("cores", "size", "share"), [([8], 2, 4), ([8], 3, 2), ([8, 8], 3, 4), ([2, 16, 0], 4, 4), ([1, 1], 2, 1)]
)
def test_actors_find_room(cores, size, share):
    assert actors._cores_per_actor(cores, size) == share


def test_more_actors_than_cores_are_told():
    with pytest.raises(InputError, match="Ray has 4 cores, too few for 5 processes"):
        actors._cores_per_actor([2, 2], 5)


@pytest.mark.slow
def test_a_ray_of_its_own_ends_with_the_work_and_says_nothing(tmp_path):
    """In a process of its own: what Ray prints of an actor that dies would else stand among the results."""
    code = (
        "from cxrscore.testing.executor_cases import _folder\nfrom cxrscore_ray import RayExecutor\nimport ray\n"
        "with _folder() as folder:\n    folder.run(RayExecutor(), range(4), i1='die once')\n"
        "    print(sorted(folder.reported), ray.is_initialized())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout == f"{[(item, f'text of {item}') for item in range(4)]} False\n"
    assert done.stderr == ""


def test_an_address_where_no_ray_is_is_told(monkeypatch):
    work = TaskBatch(items=(1,), opener="builtins:dict")

    def refuse(address, **options):
        assert address == "head:6379"
        assert set(options) == {"log_to_driver", "logging_level"}, "a Ray that runs already takes no settings"
        raise ConnectionError("nobody there")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(InputError, match=r"no Ray answers at head:6379: nobody there"):
        RayExecutor().run(work, lambda *done: None, processes=1, address="head:6379")
