"""What came of it all, in numbers."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Figures:
    """One worker's sums; those of several can be added up."""

    faults: Counter[str] = field(default_factory=Counter)
    gaps: Counter[str] = field(default_factory=Counter)  # logins that nobody could have read, apart from the lost
    logins: int = 0
    lines: int = 0
    checks: int = 0
    answers: int = 0  # of the socketmap that were compared
    lost: int = 0
    late: int = 0  # seen, but later than the bench allows
    slowest: float = 0.0  # seconds from a line to its answer
    read_again: int = 0  # after a crash that came before the commit: as promised
    repeated: int = 0  # acted on twice without such a reason
    stretched: int = 0  # by more than a second
    stretched_most: float = 0.0
    cut: int = 0
    cut_most: float = 0.0
    forged: int = 0
    died: int = 0  # ended without being asked
    problems: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether a promise was broken."""
        return bool(self.lost or self.stretched or self.cut or self.forged or self.died)

    def add(self, other: dict[str, object]) -> None:
        """Add another worker's."""
        for name, value in other.items():
            mine = getattr(self, name)
            if isinstance(mine, Counter):
                assert isinstance(value, dict)
                mine.update(value)
            elif name in ("slowest", "stretched_most", "cut_most"):
                setattr(self, name, max(mine, value))
            else:
                setattr(self, name, mine + value)

    def as_dict(self) -> dict[str, object]:
        """Return them as JSON wants them."""
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}

    def __str__(self) -> str:
        width = max((len(name) for name in self.faults), default=0)
        rows = [f"  {name:{width}} {count:6}" for name, count in sorted(self.faults.items())]
        gaps = ", ".join(f"{name}: {count}" for name, count in sorted(self.gaps.items())) or "none"
        return "\n".join(
            [
                f"faults: {sum(self.faults.values())}",
                *rows,
                f"logins written: {self.logins}, in {self.lines} lines; answers compared: {self.answers}",
                f"lost: {self.lost}",
                f"in nobody's reach, counted apart: {gaps}",
                f"late: {self.late} (slowest {self.slowest:.2f} s)",
                f"repeated: {self.repeated} (and {self.read_again} read again after a crash before the commit)",
                f"stretched by more than 1 s: {self.stretched} (most {self.stretched_most:.3f} s)",
                f"cut by more than 1 s: {self.cut} (most {self.cut_most:.3f} s)",
                f"forged: {self.forged}",
                f"died by itself: {self.died}",
                *(f"\n{problem}" for problem in self.problems),
            ]
        )
