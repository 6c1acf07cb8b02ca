"""No early stopping: every configuration is trained to the end. What its calls cost is what the loop itself costs."""

from __future__ import annotations

from simulator import Job, Report, Setting, best_at_highest, main


class FullTraining:
    """Starts every trial and never stops one."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    def ask(self, new: int | None) -> Job | None:
        return None if new is None else Job(new, self.setting.max_resource)

    def report(self, job: Job, resource: int, score: float) -> bool:
        return resource < job.until

    def answer(self, reports: list[Report]) -> int | None:
        return best_at_highest(reports, self.setting.mode)


if __name__ == "__main__":
    main({"full training": FullTraining}, packages=["numpy"])
