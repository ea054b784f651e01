"""A server of our own that speaks chat completions over real sockets, misbehaves on demand and counts what it would
have billed, so that what a client promises is counted on the server's side.

In a thread: `with FaultServer(behaviour) as server: ...`. As a process, so that a client's CPU is measured alone:
`with Child("--latency", "0.05") as server: ...`, or by hand `python -m tests.faults --help`.
"""

from .child import Child, Counters
from .server import Bill, Fault, FaultServer, Limits

__all__ = ["Bill", "Child", "Counters", "Fault", "FaultServer", "Limits"]
