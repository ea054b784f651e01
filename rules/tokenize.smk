rule tokenize:
    input:
        PLAN.inputs("tokenize"),
    output:
        PLAN.marker("tokenize"),
    log:
        PLAN.log("tokenize"),
    priority: 1  # before training, since long jobs wait for these short ones
    group:
        PLAN.group("tokenize")
    localrule: PLAN.is_local("tokenize")
    threads: PLAN.threads("tokenize")
    resources:
        mem_mb=PLAN.memory("tokenize"),
        runtime=PLAN.minutes("tokenize"),
        constraint=PLAN.constraint("tokenize"),
    shell:
        "orcac make tokenize/{wildcards.id} --log {log:q}"
