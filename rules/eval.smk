rule eval:
    input:
        PLAN.inputs("eval"),
    output:
        PLAN.marker("eval"),
    log:
        PLAN.log("eval"),
    group:
        PLAN.group("eval")
    threads: PLAN.threads("eval")
    resources:
        mem_mb=PLAN.memory("eval"),
        runtime=PLAN.minutes("eval"),
        gpu=PLAN.gpus("eval"),
        gpu_model=PLAN.gpu_model("eval"),
        constraint=PLAN.constraint("eval"),
    shell:
        "orcac make eval/{wildcards.id} --log {log:q}"


rule eval_shard:
    input:
        PLAN.shard_inputs("eval"),
    output:
        PLAN.shard("eval"),
    log:
        PLAN.shard_log("eval"),
    group:
        PLAN.group("eval")
    threads: PLAN.threads("eval")
    resources:
        mem_mb=PLAN.memory("eval"),
        runtime=PLAN.minutes("eval"),
        gpu=PLAN.gpus("eval"),
        gpu_model=PLAN.gpu_model("eval"),
        constraint=PLAN.constraint("eval"),
    shell:
        "orcac make eval/{wildcards.id} --shard {wildcards.shard} --log {log:q}"
