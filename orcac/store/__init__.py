"""The store of artifacts: published whole, leased while they are made, checked before they are used, removed safely.

`store.py` keeps artifacts, `lease.py` keeps two makers of one node apart, `garbage.py` finds and removes the rest, and
`durable.py` writes files that survive a crash. The store knows a node as KIND/ID and an artifact as files with digests.
It may import no spec, no plan and no kind, so that every kind can use it.
"""
