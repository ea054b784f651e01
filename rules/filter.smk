rule filter:
    input:
        PLAN.inputs("filter"),
    output:
        PLAN.marker("filter"),
    log:
        PLAN.log("filter"),
    priority: 1  # before training, since long jobs wait for these short ones
    group:
        PLAN.group("filter")
    localrule: PLAN.is_local("filter")
    threads: PLAN.threads("filter")
    resources:
        mem_mb=PLAN.memory("filter"),
        runtime=PLAN.minutes("filter"),
        constraint=PLAN.constraint("filter"),
    shell:
        "orcac make filter/{wildcards.id} --log {log:q}"
