"""One decoding process for each core that this process may use."""

import os

import pytest

from cxrscore import system_resources as cores


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system ties no process to cores")
def test_a_process_tied_to_one_core_counts_one():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert (cores.usable_cores(), cores.default_workers()) == (1, 1)
    finally:
        os.sched_setaffinity(0, before)
    assert cores.usable_cores() == len(before)


def test_elsewhere_those_of_the_machine_count_and_at_least_one(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for there, wanted in ((None, 1), (6, 6)):
        monkeypatch.setattr(os, "cpu_count", lambda there=there: there)
        assert cores.usable_cores() == wanted


def test_large_machines_start_no_more_than_32(monkeypatch):
    monkeypatch.setattr(cores, "usable_cores", lambda: 96)
    assert cores.default_workers() == 32


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 fma\n", set()),
        ("flags\t\t: avx2 avx512f avx512_vnni\nflags\t\t: avx512_bf16\n", {"int8"}),
        ("flags : avx512f avx512_bf16 avx512_vnni", {"int8", "bf16"}),
        ("flags : avx2 avx_vnni", {"int8"}),
        ("flags : amx_bf16 amx_int8 amx_tile", {"int8", "bf16"}),
        ("Features\t: fp asimd bf16 i8mm", set()),  # another architecture: not known
        ("", set()),
    ],
    ids=["avx2", "cascade lake", "zen 4", "alder lake", "amx", "arm", "empty"],
)
def test_what_a_processor_multiplies_in_instructions_of_its_own(monkeypatch, tmp_path, text, wanted):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(cores, "Path", lambda name: tmp_path / "cpuinfo")
    assert cores.processor_has.__wrapped__() == wanted


def test_without_a_list_of_flags_nothing_is_claimed(monkeypatch, tmp_path):
    monkeypatch.setattr(cores, "Path", lambda name: tmp_path / "nowhere")
    assert cores.processor_has.__wrapped__() == set()
