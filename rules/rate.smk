rule rate:
    input:
        PLAN.inputs("rate"),
    output:
        PLAN.marker("rate"),
    log:
        PLAN.log("rate"),
    priority: 1  # before training, since long jobs wait for these short ones
    group:
        PLAN.group("rate")
    localrule: PLAN.is_local("rate")
    threads: PLAN.threads("rate")
    resources:
        mem_mb=PLAN.memory("rate"),
        runtime=PLAN.minutes("rate"),
        gpu=PLAN.gpus("rate"),
        constraint=PLAN.constraint("rate"),
    shell:
        "orcac make rate/{wildcards.id} --log {log:q}"
