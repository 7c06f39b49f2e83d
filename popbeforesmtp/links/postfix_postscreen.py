"""postscreen(8), where it stands in front of smtpd, knows who may relay."""

from collections.abc import Iterator

from popbeforesmtp.links import Finding, Machine, sound, wrong
from popbeforesmtp.links._ours import ours

PLACE = 75


def look(machine: Machine) -> Iterator[Finding]:
    """Look at its access list, where it turns clients away."""
    if machine.postfix is None or not machine.postfix.postscreen:
        return
    parameters = machine.postfix.parameters
    strict = parameters.get("postscreen_dnsbl_sites") and parameters.get("postscreen_dnsbl_action") != "ignore"
    strict = strict or parameters.get("postscreen_greet_action", "ignore") != "ignore"
    if not strict:
        yield sound("postscreen turns nobody away")
        return
    us = ours(machine)
    access = parameters.get("postscreen_access_list", "").replace(",", " ").split()
    if not any(name in access for name in us.maps):
        wanted = ", ".join([*access, *us.maps[:1]])
        yield wrong(
            "main.cf: postscreen_access_list does not ask us: roaming clients in a blocklist are turned away",
            f"postconf -e 'postscreen_access_list = {wanted}', and result = \"permit\" in [[mta]]",
        )
        return
    for section in machine.found.mtas:
        result = str(section.values.get("result", "OK"))
        if section.type == "postfix" and result.lower() != "permit":
            yield wrong(
                f'postscreen does not take "{result}" for a leave, and lets the client in to nothing',
                '[[mta]] result = "permit", which smtpd understands too',
            )
            return
    yield sound("postscreen lets in who may relay")
