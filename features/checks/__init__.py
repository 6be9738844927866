"""Named data checks, one a file: what a shop's data says about itself before anything is trained on it."""

from features.checks.registry import CHECKS, run_checks
from features.checks.result import CheckResult

__all__ = ["CHECKS", "CheckResult", "run_checks"]
