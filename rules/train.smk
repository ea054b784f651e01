rule train:
    input:
        PLAN.inputs("train"),
    output:
        PLAN.marker("train"),
    log:
        PLAN.log("train"),
    threads: PLAN.threads("train")
    resources:
        mem_mb=PLAN.memory("train"),
        runtime=PLAN.minutes("train"),
        gpu=PLAN.gpus("train"),
        nodes=PLAN.on_several("train", "nodes"),
        tasks=PLAN.on_several("train", "tasks"),
        tasks_per_gpu=PLAN.on_several("train", "tasks_per_gpu"),
        gres=PLAN.on_several("train", "gres"),
        mpi=PLAN.on_several("train", "mpi"),
    shell:
        "orcac make train/{wildcards.id} --log {log:q}"
