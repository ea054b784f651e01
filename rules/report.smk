rule report:
    input:
        PLAN.inputs("report"),
    output:
        PLAN.marker("report"),
    log:
        PLAN.log("report"),
    group:
        PLAN.group("report")
    localrule: PLAN.is_local("report")
    threads: PLAN.threads("report")
    resources:
        mem_mb=PLAN.memory("report"),
        runtime=PLAN.minutes("report"),
        constraint=PLAN.constraint("report"),
    shell:
        "orcac make report/{wildcards.id} --log {log:q}"
