"""A model folder: its chat format, generating with it, its weights, and keeping the libraries that read it offline.

`student`, `tokenize`, `train`, `eval` and local teachers use this room alike. Besides `student` and `train` it is the
only one whose code imports torch and its companions (transformers, tokenizers, safetensors); it does so inside
functions, so importing a module of it stays cheap. Nothing that asks over a network, and no recipe, artifact or spec,
enters here: the functions take folders and plain values.
"""
