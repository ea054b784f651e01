"""The students that training starts from: a model folder with weights, tokenizer and chat template, drawn at random for
a given shape or taken from a pretrained model's files.

Nothing here trains. The room imports torch inside functions only, so that its recipe can be read without it. No code
that a model brings is ever run, and no pickled weights are read.
"""
