"""One module per way to ask a model; `connect` picks the one that an endpoint's settings mean.

    openai   any server of chat completions; `client` finds its address and key, `completions` is the wire format
    vllm     a model that vLLM serves for as long as it is asked; `guard` ends the server however this process dies
    local    a model that this process loads
    solver   the embedded teachers, a server of our own
    replay   recorded answers

An endpoint makes one attempt at one request. Retries, rates, budgets and the ledger do not belong here: they are the
engine's.
"""
