"""Several ranks on GPUs, in whose place the strict stand-in for CuPy computes.

The messages are real ones, of the MPI that is installed. What goes "from GPU to GPU" is in main
memory here, so it arrives without an MPI that was built for GPUs.
"""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import strictcuda
from devices import STRICT
from fake_cupy import fake_cuda, fake_cupy
from ranks_on_gpus import WAYS, mpirun, steps_without_waiting, train

from minibnn import Checkpoint, Ranks, get_backend

pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoint")


@pytest.fixture(scope="module")
def two(folder):
    """What two ranks have found."""
    return mpirun(2, "train", str(folder))


@pytest.fixture(scope="module")
def exact():
    """A digest of one rank's values, whose eight parts have threads."""
    with strictcuda.use_device(1):
        history, digest = train(Ranks("exact"), STRICT)
    assert history.attrs["captured"] is False
    return digest


def test_the_number_of_ranks_changes_no_bit(two, exact):
    assert two["exact host"]["digest"] == two["exact mpi"]["digest"] == exact


def test_all_transports_give_the_same_sums(two):
    """Of two ranks, whose sums have one order."""
    assert len({two[f"sum {way}"]["digest"] for way in ("host", "mpi", "nccl")}) == 1


def test_rank_0_says_once_how(two):
    words = {
        "host": "2 ranks add up through main memory",
        "mpi": "2 ranks add up on the GPUs, by MPI",
        "nccl": "2 ranks add up on the GPUs, by NCCL 2.28.9",
    }
    for mode, way in WAYS:
        assert two[f"{mode} {way}"]["log"] == [[words[way]], []]
    assert two["sum"] == [[words["nccl"]], []]
    (line,), _ = two["sum on one device"]
    assert "(not by nccl: ranks 0, 1 share one GPU" in line


def test_a_checkpoint_of_two_ranks_goes_on_with_one(two, exact, folder):
    with strictcuda.use_device(3):
        _, digest = train(
            Ranks("exact"), STRICT,
            checkpoint=Checkpoint(folder / "run.safetensors", resume=True),
        )  # fmt: skip
    assert digest == exact


@pytest.mark.parametrize("mode", ["sum", "exact"])
def test_one_rank_trains_as_on_the_cpu_but_for_rounding(mode):
    mine, theirs = (train(Ranks(mode), device, epochs=1)[0] for device in (STRICT, "cpu"))
    assert list(mine) == list(theirs)
    assert mine.loss_train[1] == pytest.approx(theirs.loss_train[1], rel=0.05)


def test_statistics_of_each_part():
    with strictcuda.use_device(1):
        history, _ = train(Ranks("exact", micro_batches=4, batch_norm="part"), STRICT)
    assert history.loss_train.notna().all()


@pytest.mark.parametrize("mode", ["sum", "exact"])
def test_a_step_of_one_rank_waits_for_nothing(mode):
    assert steps_without_waiting(Ranks(mode)) == 2 * 4


def test_with_nccl_a_step_of_two_ranks_waits_for_nothing(two):
    assert two["steps that wait for nothing"] == 2 * 4


def test_threads_for_parts_would_be_on_another_gpu(monkeypatch):
    """The stand-in notices if a part is computed elsewhere."""
    monkeypatch.setattr("minibnn.training.data_parallel._here", lambda backend: nullcontext())
    with strictcuda.use_device(1), pytest.raises(strictcuda.WrongDevice, match="device 0 is"):
        train(Ranks("exact"), STRICT)


# --- Which GPU a rank has -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def divided():
    """What three ranks of one machine get."""
    return mpirun(3, "divide")


@pytest.mark.parametrize("name", ["three GPUs", "four of eight"])
def test_each_rank_of_a_machine_has_its_own(name, divided):
    assert divided[name] == [0, 1, 2]


def test_what_the_launcher_has_divided_stays(divided):
    assert divided["one each by the launcher"] == [0, 0, 0]  # each sees one


def test_too_few_gpus_are_an_error_on_all_ranks(divided):
    for message in divided["two GPUs"]:
        assert "expected a GPU for each of 3 processes on this machine, got 2\n" in message


def test_a_gpu_that_was_opened_before_the_ranks_were_made(divided):
    """Rank 0 has the right one, and has to hear of it: the others end."""
    for message in divided["too early"]:
        assert "expected GPU 1 for process 1 of 3 on this machine, got GPU 0, which was" in message
        assert 'hint:  make Ranks before anything asks for the GPU, such as to("gpu")' in message


def test_of_a_part_of_all_processes_the_user_divides_them(divided):
    assert divided["parts"] == [0, 0, 0]


def test_alone_the_current_gpu_stays(install):
    cupy = fake_cupy(cuda=fake_cuda(lambda: 2))
    install(cupy)
    cupy.cuda.Device(1).use()
    Ranks()
    assert get_backend("gpu").device.number == 1
