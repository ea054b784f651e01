"""A chat completions server for tests: it speaks over real sockets, fails on demand and counts the answers it would
bill, so that the promises of a client are checked on the server's side.

In a thread: `with FaultServer(behaviour) as server: ...`. As a process, so that a client's CPU time is measured alone:
`with Child("--latency", "0.05") as server: ...`, or by hand `python -m tests.faults --help`. `batches` adds the Batch
API. Nothing here imports orcac.
"""

from .child import Child, Counters
from .server import Bill, Fault, FaultServer, Limits, Reply

__all__ = ["Bill", "Child", "Counters", "Fault", "FaultServer", "Limits", "Reply"]
