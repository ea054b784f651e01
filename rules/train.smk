rule train:
    input:
        PLAN.inputs("train"),
    output:
        PLAN.marker("train"),
    log:
        PLAN.log("train"),
    group:
        PLAN.group("train")
    threads: PLAN.threads("train")
    resources:
        mem_mb=PLAN.memory("train"),
        runtime=PLAN.minutes("train"),
        gpu=PLAN.gpus("train"),
        nodes=PLAN.multi_node("train", "nodes"),
        tasks=PLAN.multi_node("train", "tasks"),
        tasks_per_gpu=PLAN.multi_node("train", "tasks_per_gpu"),
        gres=PLAN.multi_node("train", "gres"),
        mpi=PLAN.multi_node("train", "mpi"),
        gpu_model=PLAN.gpu_model("train"),
        constraint=PLAN.constraint("train"),
    shell:
        "orcac make train/{wildcards.id} --log {log:q}"
