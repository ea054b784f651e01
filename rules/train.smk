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
    shell:
        "orcac make train/{wildcards.id} --log {log:q}"
