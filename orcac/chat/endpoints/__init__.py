"""One module per way to ask a model; `connect` picks the module for an endpoint's settings.

    openai   any server of chat completions; `environment` has its address and key, `completions` is the wire format of
             requests and errors, `reader` reads answers
    vllm     a model that vLLM serves as long as it is in use; `guard` ends the server however this process dies
    local    a model that this process loads
    solver   the embedded teachers, a server of our own
    replay   recorded answers

An endpoint makes one attempt at one request. Retries, rates, budgets and the ledger do not belong here, but in the
engine.
"""
