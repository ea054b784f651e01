rule student:
    input:
        PLAN.inputs("student"),
    output:
        PLAN.marker("student"),
    log:
        PLAN.log("student"),
    priority: 1  # before training, since long jobs wait for these short ones
    threads: PLAN.threads("student")
    resources:
        mem_mb=PLAN.memory("student"),
        runtime=PLAN.minutes("student"),
        gpu=PLAN.gpus("student"),
    shell:
        "orcac make student/{wildcards.id} --log {log:q}"
