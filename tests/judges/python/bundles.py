"""fhir.resources on each Bundle: R4B's classes, which are R4's for the resources in it."""

from each import each
from fhir.resources.R4B.bundle import Bundle


def judge(case):
    bundle = Bundle.model_validate_json(case["body"])
    assert bundle.type == case["type"], bundle.type
    kinds = [entry.resource.get_resource_type() for entry in bundle.entry or []]
    for kind, count in case["counts"].items():
        assert kinds.count(kind) == count, f"{kinds.count(kind)} of {kind}"
    urls = {entry.fullUrl for entry in bundle.entry or []}
    for entry in bundle.entry or []:
        resource = entry.resource
        for link in [getattr(resource, "device", None), *(getattr(resource, "result", None) or [])]:
            assert link is None or link.reference in urls, link.reference
        search = f"identifier=urn:ietf:rfc:3986|{entry.fullUrl}"
        # A correction replaces what the first version made; the analyzer itself is only made.
        if entry.request.method == "PUT":
            assert entry.request.url == f"{resource.get_resource_type()}?{search}", entry.request.url
        else:
            assert entry.request.ifNoneExist == search
    again = Bundle.model_validate_json(bundle.model_dump_json())
    assert again == bundle


each(judge)
