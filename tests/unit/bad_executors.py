"""Executors that are wrong in one thing each, by the number of the case that is to find it."""

from dataclasses import replace
from unittest import mock

from cxrscore.errors import CxrscoreError
from cxrscore.executors import LocalExecutor, local


class NameOfTwoWords(LocalExecutor):
    name = "two words"


class TellsTwice(LocalExecutor):
    def run(self, work, done, **options):
        super().run(work, lambda *told: (done(*told), done(*told)), **options)


class InTheSameProcess(LocalExecutor):
    def run(self, work, done, **options):
        compute = work.open()
        for item in work.items:
            done(item, compute(item))


class TellsNoReason(LocalExecutor):
    def run(self, work, done, **options):
        try:
            super().run(work, done, **options)
        except CxrscoreError:
            raise CxrscoreError("something failed") from None


class TakesTheDeadForDone(LocalExecutor):
    def run(self, work, done, **options):
        super().run(replace(work, is_done=lambda item: True), done, **options)


class NeverGivesUp(LocalExecutor):
    def run(self, work, done, **options):
        with mock.patch("cxrscore.executors.work_queue.MAX_TRIES", 12):
            super().run(work, done, **options)


class OpensForNothing(LocalExecutor):
    def run(self, work, done, **options):
        if not work.items:
            work.open()
        super().run(work, done, **options)


class NeverAsks(LocalExecutor):
    def run(self, work, done, **options):
        super().run(replace(work, is_done=lambda item: False), done, **options)


class LeavesWorkers(LocalExecutor):
    left = ()

    def run(self, work, done, **options):
        def keep(worker):
            self.left = (*self.left, worker)

        with mock.patch.object(local._Worker, "close", keep):
            super().run(work, done, **options)


BAD = {
    "X01": NameOfTwoWords(),
    "X02": TellsTwice(),
    "X03": InTheSameProcess(),
    "X04": TellsNoReason(),
    "X05": TakesTheDeadForDone(),
    "X06": NeverGivesUp(),
    "X07": OpensForNothing(),
    "X08": NeverAsks(),
    "X09": LeavesWorkers(),
}
