"""A worker with bugs in its FTP sessions: `STAT fault` cannot be forwarded, no transfer of a file `fault` can start."""

import sys

from pasvport.engine import worker
from pasvport.engine.conversation import Conversation
from pasvport.engine.data_connections import DataConnections

say_to_server = Conversation.say_to_server
start = DataConnections.start


def faulty_saying(self, data, urgent):
    if data == b"STAT fault\r\n":
        raise ZeroDivisionError("saying")
    say_to_server(self, data, urgent)


def faulty_start(self, direction, **more):
    if self.owner.dialogue.path.command.argument == b"fault":
        raise ZeroDivisionError("starting")
    start(self, direction, **more)


Conversation.say_to_server = faulty_saying
DataConnections.start = faulty_start
sys.exit(worker.main(int(sys.argv[-1])))
