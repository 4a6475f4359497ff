"""Everything that can be said of what the probes saw."""

from __future__ import annotations

from pasvport.doctor.case import Case
from pasvport.doctor.diagnosis_data import DATA
from pasvport.doctor.diagnosis_door import DOOR
from pasvport.doctor.diagnosis_farm import FARM
from pasvport.doctor.rules import Finding, Rule, apply

DIAGNOSIS: tuple[Rule[Case], ...] = (*DOOR, *DATA, *FARM)


def diagnose(case: Case) -> list[Finding]:
    """The findings of a case whose visits are there."""
    return list(apply(DIAGNOSIS, case))
