"""What may travel: the value classes of the configuration, and no other class."""

from __future__ import annotations

import importlib
import pickle
import pkgutil

import pytest

from pasvport import model, wire
from pasvport.errors import WireError
from pasvport.wire import Listener


def test_the_model_exports_every_class_of_its_modules() -> None:
    # The wire knows the model's classes by what the package exports: one left out would be refused by workers.
    names = [each.name for each in pkgutil.iter_modules(model.__path__, f"{model.__name__}.")]
    defined = {name for each in names for name in _defined_in(each)}
    assert defined == set(model.__all__)


def _defined_in(module: str) -> set[str]:
    names = vars(importlib.import_module(module)).items()
    return {name for name, kind in names if isinstance(kind, type) and kind.__module__ == module}


@pytest.mark.parametrize("value", [KeyError, ("x", print), pickle.Pickler])
def test_other_classes_are_refused(value: object) -> None:
    with pytest.raises(WireError, match="not part of the wire"):
        wire.decode(pickle.dumps(value))


@pytest.mark.parametrize("value", [model.Config(), Listener(0, 0, 21, 3), None, (1, 2)])
def test_a_value_is_no_message(value: object) -> None:
    with pytest.raises(WireError, match="not a message"):
        wire.decode(pickle.dumps(value))
