"""Orders that change the configuration wait for each other: which are served together, and who is told what."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from pasvport.control.amendments import Amendment, Amendments, amended, refuse
from pasvport.errors import ConfigError
from pasvport.model import Config


def appending(word):
    """An amendment that adds a file name, which shows in what order changes were made."""
    return Amendment(("be", word), lambda config: replace(config, files=(*config.files, word)))


def failing(word):
    def change(_config):
        raise ConfigError(f"not {word}")

    return Amendment(("be", word), change)


def test_those_that_wait_are_served_together_but_for_the_same_server():
    async def run():
        waiting = Amendments()
        for word in ("a", "b", "a", "c"):
            waiting.submit(appending(word))
        first = [petition.amendment.about[1] for petition in waiting.take()]
        second = [petition.amendment.about[1] for petition in waiting.take()]
        return first, second, bool(waiting)

    assert asyncio.run(run()) == (["a", "b"], ["a", "c"], False)


def test_who_does_not_wait_any_more_is_left_out():
    async def run():
        waiting = Amendments()
        outcomes = [waiting.submit(appending(word)) for word in "ab"]
        outcomes[0].cancel()
        return [petition.amendment.about[1] for petition in waiting.take()]

    assert asyncio.run(run()) == ["b"]


def test_a_change_that_cannot_be_made_is_refused_alone():
    async def run():
        waiting = Amendments()
        outcomes = [waiting.submit(make(word)) for make, word in ((appending, "a"), (failing, "b"), (appending, "c"))]
        petitions = waiting.take()
        config, made = await amended(Config(), petitions)
        for petition in made:
            petition.grant()
        refuse(petitions, ConfigError("too late"))
        return config.files, [str(outcome.exception()) for outcome in outcomes]

    assert asyncio.run(run()) == (("a", "c"), ["None", "not b", "None"])
