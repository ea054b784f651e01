rule sample:
    input:
        PLAN.inputs("sample"),
    output:
        PLAN.marker("sample"),
    log:
        PLAN.log("sample"),
    priority: 1  # before training, since long jobs wait for these short ones
    group:
        PLAN.group("sample")
    localrule: PLAN.is_local("sample")
    threads: PLAN.threads("sample")
    resources:
        mem_mb=PLAN.memory("sample"),
        runtime=PLAN.minutes("sample"),
        constraint=PLAN.constraint("sample"),
    shell:
        "orcac make sample/{wildcards.id} --log {log:q}"
