"""The language: from a YAML file to a checked experiment with all its arms.

A spec file is parsed into a tree that remembers the place of each value (`source`), laid over the spec that it
extends and validated arm by arm (`load`, `arms`), against the schema (`schema`, `units`) and against the rules that a
schema cannot express (`check`, `questions`, and `columns` for the keys of files). `reference` describes the language
to editors and readers.

Nothing here knows a plan, a node or an endpoint's protocol, and nothing imports torch, transformers or openai: every
command that reads a spec starts with these modules.
"""
