rule collect:
    input:
        PLAN.inputs("collect"),
    output:
        PLAN.marker("collect"),
    log:
        PLAN.log("collect"),
    priority: 1  # before training, since long jobs wait for these short ones
    group:
        PLAN.group("collect")
    localrule: PLAN.is_local("collect")
    threads: PLAN.threads("collect")
    resources:
        mem_mb=PLAN.memory("collect"),
        runtime=PLAN.minutes("collect"),
        gpu=PLAN.gpus("collect"),
        constraint=PLAN.constraint("collect"),
    shell:
        "orcac make collect/{wildcards.id} --log {log:q}"


rule collect_shard:
    input:
        PLAN.shard_inputs("collect"),
    output:
        PLAN.shard("collect"),
    log:
        PLAN.shard_log("collect"),
    priority: 1  # before training, since long jobs wait for these short ones
    group:
        PLAN.group("collect")
    localrule: PLAN.is_local("collect")
    threads: PLAN.threads("collect")
    resources:
        mem_mb=PLAN.memory("collect"),
        runtime=PLAN.minutes("collect"),
        gpu=PLAN.gpus("collect"),
        constraint=PLAN.constraint("collect"),
    shell:
        "orcac make collect/{wildcards.id} --shard {wildcards.shard} --log {log:q}"
