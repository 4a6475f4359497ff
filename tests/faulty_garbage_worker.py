"""The garbage worker with bugs: FILE DESCRIPTOR. `STAT fault` cannot be forwarded, no file `fault` can be moved,
and there can be no line of a session of user `fault`."""

import sys

import garbage_worker
from pasvport.engine.conversation import Conversation
from pasvport.engine.data_connections import DataConnections
from pasvport.engine.session import Session

say_to_server = Conversation.say_to_server
start = DataConnections.start
record = Session.record


def faulty_saying(self, data, urgent):
    if data == b"STAT fault\r\n":
        raise ZeroDivisionError("saying")
    say_to_server(self, data, urgent)


def faulty_start(self, direction, **more):
    if self.owner.dialogue.path.command.argument == b"fault":
        raise ZeroDivisionError("starting")
    start(self, direction, **more)


def faulty_record(self, culprit, stage):
    if self.dialogue.record.user == b"fault":
        raise ZeroDivisionError("recording")
    return record(self, culprit, stage)


Conversation.say_to_server = faulty_saying
DataConnections.start = faulty_start
Session.record = faulty_record
sys.exit(garbage_worker.main(sys.argv[1], int(sys.argv[2])))
