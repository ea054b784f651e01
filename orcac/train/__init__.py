"""Training one stage of the curriculum: packed rows and a starting model in, a trained model folder out.

`run.py` trains in this process or starts one process per rank (`launch.py`, `processes.py`); `worker.py` is the body of
each. The modules that a plan, a cost estimate or the starting process reads (`recipe`, `apart`, `gpus`, `stage`,
`launch`, `processes`) import no torch. Text, chat templates and packing belong to `model/` and `tokenize/`, and no
spec, plan or store id enters this room.
"""
