"""Warm jobs: the jobs of a local `orcac run` are forked from processes that have imported their packages already.

Importing torch and transformers takes seconds of CPU time, as long as many a small stage trains. So `orcac run` starts
a server (server.py) and passes the path of its socket to Snakemake's jobs in ORCAC_WARM. A job remains an `orcac make`
that Snakemake starts, logs, limits and kills. It sends its arguments, environment, folder, limits and open streams to
the server (client.py), and waits:

    orcac run ── server ── template (one per kinds and environment: has imported the packages, runs nothing)
        └ snakemake ── orcac make KIND/ID     └ the job: forked, becomes that `orcac make` (request.py)

A job must not differ from a cold one. A template imports under the environment of the job, since libraries read
variables at import (the number of threads is set after the fork). It has one thread when it forks, and it imports no
package that its jobs would not import, since an artifact's record lists them. A machine with GPUs keeps models cold,
because CUDA does not survive a fork.

Every process may be killed at any time. If `orcac make` dies, its job is killed. If the server or the template dies,
its jobs die with it, and each `orcac make` makes its node again by itself, from the node's `work`. Without the variable
(a bare `snakemake`, a cluster) or without Linux, all jobs are cold: forking after torch is imported is unsafe on macOS.
"""

VARIABLE = "ORCAC_WARM"  # the environment variable that holds the socket's path, or "0" if `orcac run` is to stay cold
COLD = b"cold"  # the answer to a request that is declined
STARTED = b"started"  # the answer when the job is forked; its wait status follows when it has ended
