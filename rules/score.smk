rule score:
    input:
        PLAN.inputs("score"),
    output:
        PLAN.marker("score"),
    log:
        PLAN.log("score"),
    group:
        PLAN.group("score")
    localrule: PLAN.is_local("score")
    threads: PLAN.threads("score")
    resources:
        mem_mb=PLAN.memory("score"),
        runtime=PLAN.minutes("score"),
        gpu=PLAN.gpus("score"),
        constraint=PLAN.constraint("score"),
    shell:
        "orcac make score/{wildcards.id} --log {log:q}"
