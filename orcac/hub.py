from orcac.recipe import HubRef


def parse_hub(url: str) -> HubRef:
    rest = url.removeprefix("hf://")
    a, b, *c = rest.split("/")
    n, _, r = b.partition("@")
    return HubRef(repo=f"{a}/{n}", revision=r or "main", path="/".join(c))
