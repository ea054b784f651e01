rule eval:
    input:
        PLAN.inputs("eval"),
    output:
        PLAN.marker("eval"),
    log:
        PLAN.log("eval"),
    threads: PLAN.threads("eval")
    resources:
        mem_mb=PLAN.memory("eval"),
        runtime=PLAN.minutes("eval"),
        gpu=PLAN.gpus("eval"),
    shell:
        "orcac make eval/{wildcards.id} --log {log:q}"
