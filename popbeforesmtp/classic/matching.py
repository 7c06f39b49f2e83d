"""The classic's patterns made into formats: ours where the server is known, else the administrator's own."""

import re

from popbeforesmtp.classic.conf import Conf, Setting, default
from popbeforesmtp.classic.header import Header, take_header
from popbeforesmtp.classic.options import Options
from popbeforesmtp.classic.pattern import message_pattern
from popbeforesmtp.classic.perlre import CannotConvertError
from popbeforesmtp.classic.plan import ClassicPattern, Plan, quoted
from popbeforesmtp.classic.servers import server_of
from popbeforesmtp.classic.values import as_text
from popbeforesmtp.model import EventKind

HOLD = "24h"
"""How long an open session keeps its client authorized; the classic knew no limit."""

_PLD = {"uw": "uw", "cyrus": "cyrus", "courier": "courier", "qmail": "vpopmail", "spop3d": "solid-pop3d"}
_USED = ("$pat", "$out_pat", "$logtime_pat", "$PID_pat", "$IP_pat", "$OK_pat", "$FAIL_pat", "$END_pat", "$OUT_pat")
_FAILED = re.compile(r"(?i)(?<![a-z])fail(?:ed|ure|s)?|denied|incorrect|invalid")
_NOT_WANTED = re.compile(r"\(\?<?!(?:\\.|[^()\\]|\([^()]*\))*\)")  # what a pattern says must not stand there
_KEEP_WAITING = r"[^\x00-\x1f\x7f]{0,1500}+"
_DANGER = {
    "courier": "with the classic's, who sent a long enough name was let in without a login, or chose who was",
    "perdition": "with the classic's, a name that holds the words of success was let in without a login",
    "cyrus": "with the classic's, a name or an anonymous password could let its sender in",
    "teapop": "the classic's took the server's own address for the client's",
    "vpopmail": "with the classic's, an account's name could let another address in",
}


def carry_over(conf: Conf, plan: Plan, options: Options, used: set[str]) -> None:
    """Say by which formats the plan's log is read."""
    used |= {*_USED, "@match", "@login", "@logout"}
    if options.pattern_name is not None:
        _choose_pld(plan, options.pattern_name)
        return
    plan.logtime = conf.text("$logtime_pat") or default("$logtime_pat")
    if conf.value("$logtime_pat") is not None:
        plan.note(conf.line("$logtime_pat"), "$logtime_pat: every stamp that syslog daemons write is known here")
    if all(conf.text(name) for name in ("$PID_pat", "$IP_pat", "$OK_pat")):
        plan.custom = True
        _take_processes(conf, plan, options)
    elif "custom_match" in conf.subs:
        plan.custom = True
        _take_many(conf, plan, options, used)
    else:
        _take_one(conf, plan, options)


def _choose_pld(plan: Plan, name: str) -> None:
    if name == "auto":
        plan.note(None, "--pattern-name=auto: every format is read")
    elif name in _PLD:
        plan.formats = [_PLD[name]]
    else:
        plan.stop(None, f"--pattern-name={name}: there are {', '.join(_PLD)}, auto")


def _take_one(conf: Conf, plan: Plan, options: Options) -> None:
    """Take $pat, and $out_pat."""
    login = ClassicPattern(EventKind.LOGIN, "$pat", conf.text("$pat") or default("$pat"), conf.line("$pat"))
    logout = conf.text("$out_pat")
    if logout is not None:
        plan.patterns.append(ClassicPattern(EventKind.LOGOUT, "$out_pat", logout, conf.line("$out_pat")))
    plan.patterns.append(login)
    _convert_each(plan, options)


def _take_many(conf: Conf, plan: Plan, options: Options, used: set[str]) -> None:
    """Take @login and @logout, or @match of older versions: what the shipped custom_match() tries."""
    sub = conf.subs["custom_match"]
    arrays = {token.text for token in sub.tokens if token.kind == "array"} & {"login", "logout", "match"}
    direct = [token for token in sub.tokens if token.kind == "match" and not re.fullmatch(r"\$\w+", token.text)]
    logins = [*conf.elements("login"), *conf.elements("match")]
    used |= {name for name in conf.settings if re.match(r"\$(?:login|logout|match)\[", name)}
    if not arrays or direct or not logins:
        plan.stop(
            sub.line,
            "sub custom_match: code is not run; write its patterns as @login (and @logout), or as files of formats.d"
            " (`pop-before-smtp formats show dovecot` shows one)",
        )
        return
    plan.note(sub.line, "sub custom_match: not run; @login and @logout are read as the shipped one reads them")
    groups = ((EventKind.LOGOUT, "$logout", conf.elements("logout")), (EventKind.LOGIN, "$login", logins))
    for event, name, elements in groups:
        for index, setting in elements:
            _take_element(plan, event, f"{name}[{index}]", setting)
    _convert_each(plan, options)


def _take_element(plan: Plan, event: EventKind, name: str, setting: Setting) -> None:
    if setting.value is None:
        return
    if not isinstance(setting.value, str):
        plan.stop(setting.line, f"{name}: is no pattern; write one in quotes")
    elif setting.value.startswith("... define"):
        plan.note(setting.line, f"{name}: is the shipped placeholder, and matches nothing")
    else:
        plan.patterns.append(ClassicPattern(event, name, setting.value, setting.line))


def _convert_each(plan: Plan, options: Options) -> None:
    """Make formats of patterns of which each reads one line."""
    plan.formats = []
    replaced: dict[str, list[ClassicPattern]] = {}
    own: dict[tuple[str, ...], list[tuple[EventKind, str]]] = {}
    for pattern in plan.patterns:
        if pattern.event is EventKind.LOGIN and _FAILED.search(_NOT_WANTED.sub("", pattern.text)):
            _refuse_failures(plan, pattern)
            continue
        server = None if options.classic_patterns else server_of(pattern.text)
        if server is not None:
            replaced.setdefault(server[0], []).append(pattern)
            continue
        _insisted(plan, pattern, options)
        try:
            header = take_header(pattern.text)
            match = message_pattern(header.message, address=True, user=pattern.event is EventKind.LOGIN)
        except CannotConvertError as error:
            _cannot(plan, pattern, error)
            continue
        _say_host(plan, pattern, header)
        own.setdefault(header.programs, []).append((pattern.event, match))
    for name, patterns in replaced.items():
        _say_replaced(plan, name, patterns)
        plan.formats.append(name)
    for number, (programs, entries) in enumerate(own.items(), start=1):
        _add_own(plan, number, programs, entries, join=None)
    if any(pattern.event is EventKind.LOGOUT for pattern in plan.patterns):
        _hold(plan, next(each for each in plan.patterns if each.event is EventKind.LOGOUT))


def _take_processes(conf: Conf, plan: Plan, options: Options) -> None:
    """Take the patterns that read the lines of one process together."""
    events = (
        (EventKind.CONNECT, "$IP_pat"),
        (EventKind.LOGIN, "$OK_pat"),
        (EventKind.LOGOUT, "$OUT_pat"),
        (EventKind.FAILURE, "$FAIL_pat" if conf.text("$FAIL_pat") else "$END_pat"),
    )
    process = ClassicPattern(EventKind.OTHER, "$PID_pat", conf.text("$PID_pat") or "", conf.line("$PID_pat"))
    for event, name in events:
        text = conf.text(name)
        if text is not None:
            plan.patterns.append(ClassicPattern(event, name, text, conf.line(name)))
    server = None if options.classic_patterns else server_of(process.text)
    if server is not None:
        plan.formats = [server[0]]
        _say_replaced(plan, server[0], [process, *plan.patterns])
    else:
        _insisted(plan, process, options)
        _convert_processes(plan, process)
    plan.patterns.insert(0, process)
    out = next((each for each in plan.patterns if each.name == "$OUT_pat"), None)
    if out is not None:
        _hold(plan, out)


def _convert_processes(plan: Plan, process: ClassicPattern) -> None:
    plan.formats = []
    entries: list[tuple[EventKind, str]] = []
    programs: tuple[str, ...] = ()
    pattern = process
    try:
        programs = take_header(process.text).programs
        for pattern in plan.patterns:
            text = pattern.text
            header = take_header(text if text.startswith(("^", "[LOGTIME]")) else process.text + ".*?(?:" + text + ")")
            match = message_pattern(
                header.message, address=pattern.event is EventKind.CONNECT, user=pattern.event is EventKind.LOGIN
            )
            entries.append((pattern.event, match))
    except CannotConvertError as error:
        _cannot(plan, pattern, error)
        return
    if any(pattern.event is EventKind.FAILURE for pattern in plan.patterns):
        entries.append((EventKind.CONNECT, _KEEP_WAITING))  # any other line changes nothing
    _add_own(plan, 1, programs, entries, join="pid")


def _add_own(
    plan: Plan, number: int, programs: tuple[str, ...], entries: list[tuple[EventKind, str]], join: str | None
) -> None:
    """Write a format file of the administrator's own patterns."""
    name = f"classic-{number}"
    order = (EventKind.CONNECT, EventKind.LOGIN, EventKind.LOGOUT, EventKind.FAILURE)
    if join is None:  # the classic tries logouts first
        order = (EventKind.LOGOUT, EventKind.LOGIN, EventKind.CONNECT, EventKind.FAILURE)
    lines = [
        f"title = {quoted(f'own patterns of {plan.path}')}",
        f"programs = {quoted(list(programs))}",
        'account = "unknown"  # where no part of the pattern is the account; name it (?P<user>…)',
        'attacker = "nobody has looked: can a name that a stranger sends make such a line?"',
    ]
    ranked = sorted(entries, key=lambda entry: (entry[1] == _KEEP_WAITING, order.index(entry[0])))
    for event, match in ranked:
        lines += ["", "[[pattern]]", f'event = "{event.value}"']
        lines += [f'join = "{join}"'] if join is not None else []
        lines.append(f"match = '''{match}'''" if "'''" not in match else f"match = {quoted(match)}")
    plan.own[name] = "\n".join(lines) + "\n"
    plan.formats = [*(plan.formats or []), name]


def _refuse_failures(plan: Plan, pattern: ClassicPattern) -> None:
    plan.stop(
        pattern.line,
        f"{pattern.name} = {pattern.text!r}: it matches failed logins, and whom it matches may relay; who fails is shut"
        " out by [block] in pop-before-smtp.toml(5), or for sshd by fail2ban",
    )


def _insisted(plan: Plan, pattern: ClassicPattern, options: Options) -> None:
    server = server_of(pattern.text)
    if options.classic_patterns and server is not None:
        danger = _DANGER.get(server[0], "ours is proved against forged lines")
        plan.note(pattern.line, f"{pattern.name}: used as it is, as --classic-patterns insists; {danger}")
    else:
        plan.note(
            pattern.line,
            f"{pattern.name}: there is no format of ours for this server; the pattern is used, with the whole address"
            " checked, no control bytes, and 50 ms for each line. Nobody has proved that no name forges it",
        )


def _say_host(plan: Plan, pattern: ClassicPattern, header: Header) -> None:
    if header.host is not None:
        plan.lost(pattern.line, f"{pattern.name}: lines of other hosts than {header.host} count too")


def _say_replaced(plan: Plan, name: str, patterns: list[ClassicPattern]) -> None:
    """Say that ours is used, once for each server."""
    _, difference = next((found for each in patterns if (found := server_of(each.text))), ("", ""))
    variables = ", ".join(each.name for each in patterns)
    what = f"{variables}: read by our format {name}, made against what strangers can write into its log"
    what += f"; {_DANGER[name]}" if name in _DANGER else ""
    what += f"; it reads {difference}" if difference and name not in ("teapop", "vpopmail") else ""
    if name == "vpopmail":
        what += f"; it reads {difference.partition(';')[0]}"
    what += _narrower(name, patterns)
    plan.note(patterns[-1].line, f"{what}; --classic-patterns insists on yours")


def _narrower(name: str, patterns: list[ClassicPattern]) -> str:
    """Say what of a service the pattern did not read, and ours does."""
    if name not in ("dovecot", "courier", "cyrus", "uw"):
        return ""
    text = " ".join(each.text for each in patterns if each.event is EventKind.LOGIN)
    missing = [service for service, word in (("pop3", "pop"), ("imap", "imap")) if word not in text]
    return f"; logins by {' and '.join(missing)} count too" if missing else ""


def _cannot(plan: Plan, pattern: ClassicPattern, error: CannotConvertError) -> None:
    plan.stop(
        pattern.line,
        f"{pattern.name} = {as_text(pattern.text)!r}: {error}; write it as a file of formats.d (`pop-before-smtp"
        " formats show dovecot` shows one), or leave it out where a format of ours reads the server",
    )


def _hold(plan: Plan, pattern: ClassicPattern) -> None:
    plan.hold = HOLD
    plan.note(
        pattern.line,
        f"{pattern.name}: a session that is open keeps its client authorized for {HOLD} at most (hold), and only where"
        " its server names sessions; in the classic a logout that was lost kept the relay open for good, and another's"
        " failed login closed it",
    )
