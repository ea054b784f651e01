"""The Batch API: requests are uploaded as files, answered within a day, and cost about half.

Every request is on disk before it is sent, so that no kill can make it go twice. A batch is a folder under
`answers/batches/`:

    requests.jsonl   its requests, one per line; the `custom_id` of a request at the provider is its line number, from 0
    batch.json       the record (`Batch`): its account, its progress and the most it can cost; replaced atomically
    output.jsonl, errors.jsonl   the provider's results, until they are in the ledger
    left             the keys of the requests that the batch did not answer, written once it is settled

The folder is the whole state: any process may send, poll and settle any batch, and holds a lease during each step.

- **A live batch is a claim on its questions.** A run of any experiment that needs one of them waits for that batch.
  Batches are planned under one lease, with the ledger read anew, so two runs never claim the same question.
- **The time of a `create` is on disk before it is sent.** If its response does not arrive, the provider's list is
  searched for our id, which is in the batch's metadata, or for the batch's file, until `Tuning.settle_s` later. Only
  then is `create` sent again. An upload costs nothing, so one without a response is repeated.
- **The output and error files of every ended batch are read**, whether it completed, expired, failed or was cancelled.
  Settling is idempotent: an answer that the ledger has, or that was forgotten since, is not added again. Requests and
  results are deleted only when all answers are durable.
- **A batch that the provider does not know, or whose file is gone, keeps its claim**, since a wrong key looks the
  same. It stops the run with a message, until `orcac batches cancel` gives it up.
- **When the provider fails a batch because too many tokens wait** (`token_limit_exceeded`), its requests are split to
  fit the limit that the message names, or half of it, and are sent again when other batches have ended.

A request that a batch did not answer goes into another one, up to `attempts` times; with `mode: auto` it is asked
online instead. If the model refuses a parameter that need not be sent, or has another name for it, the request goes
into another batch without it, in either mode. The record keeps the refused parameter, so that no later batch sends it.

The most that a batch can cost is claimed from the budget under the batch's id, after its record is written and before
it is sent. The process that settles the batch releases it. So a batch whose job has died is counted once, and in full.
The record keeps the price and the budget with which the batch was planned. A server may bill more than requests allow,
so with a budget the first batch to a model is small.

Requests are iterated several times and never held in memory, except for some bytes of state each (`attempts`).

`planner` decides which batches to send and when to stop, `steps` takes one batch from its plan to the ledger, `control`
serves the commands. `files` and `draft` know the disk, `provider` the wire, `results` the format of the results.
Requests that are asked one at a time belong to `chat/engine.py`, and their rate limits do not apply here.
"""
