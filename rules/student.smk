rule student:
    input:
        PLAN.inputs("student"),
    output:
        PLAN.marker("student"),
    log:
        PLAN.log("student"),
    priority: 2  # before answers are paid for, since it checks the model and its chat template
    group:
        PLAN.group("student")
    threads: PLAN.threads("student")
    resources:
        mem_mb=PLAN.memory("student"),
        runtime=PLAN.minutes("student"),
        gpu=PLAN.gpus("student"),
        constraint=PLAN.constraint("student"),
    shell:
        "orcac make student/{wildcards.id} --log {log:q}"
