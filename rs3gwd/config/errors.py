"""What is wrong with a configuration, said so that a person can mend it.

    Rs3gwError
    `-- ConfigError    every problem found, one line each (permanent, the caller's fault)

All problems of one reading are reported together, since mending them one start at a time wears
people out.
"""

from collections.abc import Sequence

from rs3gwd.base.errors import Fault, Rs3gwError


class ConfigError(Rs3gwError):
    """The configuration is refused; `problems` are sentences without a full stop, at least one."""

    code = "InvalidConfiguration"
    fault = Fault.CALLER

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)
