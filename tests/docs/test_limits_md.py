"""docs/limits.md against simple_im/limits.py."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from simple_im import limits
from tests.docs.markdown import Document


def written(value: int | tuple[int, ...]) -> str:
    """A limit as the document writes it."""
    return f"{value:,}" if isinstance(value, int) else ", ".join(f"{number:,}" for number in value)


class LimitTests(SynchronousTestCase):
    def test_every_limit(self) -> None:
        """Every name in limits.py has a row with its value, in the order of the module, and there are no others."""
        rows = [f"| {name} | {value} |" for name, value, _ in Document("docs/limits.md").rows("Limits")]
        names = [name for name in vars(limits) if name.isupper()]
        self.assertEqual(rows, [f"| `{name}` | {written(getattr(limits, name))} |" for name in names])
