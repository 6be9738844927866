"""What the mathematics may answer instead of a number."""

from features.errors import PondError


class CannotServe(PondError):
    """A stage has nothing sensible to say for this query; the pipeline falls back to the next one and says so."""

    def __init__(self, stage: str, why: str) -> None:
        self.stage, self.why = stage, why
        super().__init__(f"{stage}: {why}")
