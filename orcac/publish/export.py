"""Export: an arm's student as a model folder for any user, with the files of its last stage and a model card.

The card is written at export and not when a stage is trained. A stage may belong to several arms and specs, so it
cannot name any of them, and it is scored only later.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from orcac.errors import InputError, OrcacError, StoreError
from orcac.plan.plan import Plan
from orcac.progress import Progress
from orcac.publish.card import render_card
from orcac.publish.records import find_arm, find_run
from orcac.report.recipe import Arm, Run
from orcac.store.durable import new_folder
from orcac.store.store import Store


def export(plan: Plan, store: Store, *, spec: str, arm: str, run: int = 1, about: str, out: Path) -> str:
    """Write the student of an arm to the folder `out`, and return the KIND/ID of its last stage.

    `spec` is the spec's name in the plan, and `run` the number of one of the arm's training runs. Raises OrcacError if
    the student is not made yet, StoreError if it is damaged, and InputError if the arm trains nothing or has no such
    run, `out` exists or the disk is too small.
    """
    described, exported = find_trained(plan, spec=spec, arm=arm, run=run)
    ref = exported.stages[-1].train
    if not store.is_done(ref):
        raise OrcacError(f"{ref} is not made yet", fix="make it with `orcac run`; `orcac status` shows its progress")
    text = render_card(plan, store, spec=spec, arm=described, run=exported, about=about)
    files = {
        name.removeprefix("model/"): (store.find_folder(ref) / name, facts)
        for name, facts in store.artifact(ref)["files"].items()
        if name.startswith("model/")
    }
    total = sum(facts["bytes"] for _, facts in files.values())
    megabytes = max(total // 10**6, 1)
    progress = Progress(label=f"export {arm}", total=megabytes, unit="MB")
    done = 0
    with new_folder(out, needs=total) as folder:
        for name, (path, facts) in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256()
            with path.open("rb") as source, target.open("wb") as copy:
                while content := source.read(1 << 20):
                    digest.update(content)
                    copy.write(content)
                    done += len(content)
                    progress.update(min(done // 10**6, megabytes))
            if digest.hexdigest() != facts["sha256"]:
                raise StoreError(f"{path}: the file is damaged", fix=f"`orcac verify {ref} --repair`, then run again")
        progress.update(megabytes)
        (folder / "README.md").write_text(text, encoding="utf-8")
    return ref


def find_trained(plan: Plan, *, spec: str, arm: str, run: int) -> tuple[Arm, Run]:
    """Return an arm and one of its runs. Raises InputError if the arm trains nothing or has no such run."""
    described = find_arm(plan, spec, arm)
    if not described.stages:
        fix = "name an arm with a curriculum"
        if described.student:
            fix += f"; the student as it is is {plan.nodes[described.student].label}, in {described.student}"
        raise InputError(f"the arm `{arm}` trains nothing, so there is no student to export", fix=fix)
    return described, find_run(described, run)
