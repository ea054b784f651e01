rule collect:
    input:
        PLAN.inputs("collect"),
    output:
        PLAN.marker("collect"),
    threads: PLAN.threads("collect")
    resources:
        mem_mb=PLAN.memory("collect"),
        runtime=PLAN.minutes("collect"),
    shell:
        "orcac make collect/{wildcards.id}"


rule collect_shard:
    input:
        PLAN.shard_inputs,
    output:
        PLAN.shard(),
    threads: PLAN.threads("collect")
    resources:
        mem_mb=PLAN.memory("collect"),
        runtime=PLAN.minutes("collect"),
    shell:
        "orcac make collect/{wildcards.id} --shard {wildcards.shard}"
