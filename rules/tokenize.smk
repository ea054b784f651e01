rule tokenize:
    input:
        PLAN.inputs("tokenize"),
    output:
        PLAN.marker("tokenize"),
    log:
        PLAN.log("tokenize"),
    priority: 1  # before training: short work opens long work
    threads: PLAN.threads("tokenize")
    resources:
        mem_mb=PLAN.memory("tokenize"),
        runtime=PLAN.minutes("tokenize"),
    shell:
        "orcac make tokenize/{wildcards.id} --log {log:q}"
