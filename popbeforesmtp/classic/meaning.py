"""What each variable and each flag of the classic means here: the one table of meanings, for the daemon and migrate.

Nothing is dropped in silence: what is set and has no meaning here, and all code, is named with its line.
"""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path

from popbeforesmtp.addresses import parse_network
from popbeforesmtp.classic import matching
from popbeforesmtp.classic.conf import Conf, default
from popbeforesmtp.classic.options import Options
from popbeforesmtp.classic.plan import DEBIAN, LOGS, Plan, own_rules
from popbeforesmtp.classic.values import Code, as_integer, as_text
from popbeforesmtp.rulesettings import LONGEST

_LONGEST_GRACE = int(LONGEST.total_seconds())
_TIMINGS = ("interval", "maxinterval", "adjustafter", "resetafter", "tail")
_OUTPUTS = {
    "tie_DB": "postfix",
    "tie_NDBM": "dbm",
    "tie_BerkeleyDB": "postfix",
    "tie_CDB": "cdb",
    "tie_tcprules": "tcprules",
    "tie_courier": "courier",
    "tie_sendmail": "sendmail",
}
_SYNCS = {name.replace("tie_", "sync_") for name in _OUTPUTS}
_LOCKS = {"flock_DB", "flock_sendmail", "fcntl_sendmail", "flock_courier", "lock_flock", "lock_fcntl"}
_OVERRIDDEN = frozenset(
    f"{name}_{of}" for name in ("tie", "add", "del", "sync", "flock", "mynet") for of in ("DB", "postfix")
) | {"tail_init", "tail_open", "tail_getline", "cleanup_nets", "sig_handler", "set_output_log"}
_DANGEROUS = re.compile(
    r"[$@%&*][{'\"\s]*(?:main)?(?:::)?(?:pat|out_pat|logtime_pat|PID_pat|IP_pat|OK_pat|FAIL_pat|END_pat|OUT_pat|login|logout|match|dbfile|dbvalue|db"
    r"|grace|tie_func|add_func|del_func|file_tail|tail_getline_func)\b|custom_match|\brequire\b|\bdo\b|\beval\b"
)


def mean(conf: Conf | None, options: Options) -> Plan:
    """Say what a configuration and flags come to; without a configuration, what the classic's defaults do."""
    known = conf or Conf(Path())
    plan = Plan(None if conf is None else conf.path)
    if known.path == DEBIAN:  # its daemon was changed: debian/patches of 1.41-1.1
        plan.dbfile, plan.watchlog = "/var/lib/pop-before-smtp/hosts", "/var/log/mail.log"
    used: set[str] = set()
    plan.shown["$pat"] = known.text("$pat") or default("$pat")
    if known.text("$out_pat") is not None:
        plan.shown["$out_pat"] = known.text("$out_pat") or ""
    for take in _TABLE:
        take(known, plan, options, used)
    if conf is None and options.pattern_name is None:
        plan.formats = None
        plan.note(None, "there is no configuration; every format is read, the map is the classic's own")
        return plan
    matching.carry_over(known, plan, options, used)
    _name_the_rest(known, plan, used)
    return plan


def _take_grace(conf: Conf, plan: Plan, options: Options, used: set[str]) -> None:
    used.add("$grace")
    plan.grace = as_integer(conf.value("$grace")) if "$grace" in conf.settings else plan.grace
    if not re.fullmatch(r"\s*[+-]?[0-9.]+\s*", conf.text("$grace") or "0"):
        plan.lost(conf.line("$grace"), f"$grace: Perl reads {conf.text('$grace')!r} as {plan.grace} seconds")
    if options.grace is not None:
        plan.grace = options.grace
    if not 1 <= plan.grace <= _LONGEST_GRACE:
        line, name = (conf.line("$grace"), "$grace") if options.grace is None else (None, f"--grace={options.grace}")
        plan.stop(line, f"{name}: {plan.grace} seconds are no window; write 1 to {_LONGEST_GRACE}")


def _take_switches(conf: Conf, plan: Plan, options: Options, used: set[str]) -> None:
    for name in ("debug", "write", "reprocess"):
        used.add(f"${name}")
        setting = conf.settings.get(f"${name}")
        asked = getattr(options, name)
        if setting is not None:
            setattr(plan, name, as_text(setting.value) not in ("", "0"))
        if asked is not None:
            setattr(plan, name, asked)
    if conf.value("$debug") and plan.debug:
        plan.note(conf.line("$debug"), "$debug: run with --debug")
    used.add("$flock")
    if "$flock" in conf.settings:
        plan.note(conf.line("$flock"), "$flock: nothing is locked here, a map is renamed over the old one whole")
    if options.mappedv6:
        plan.note(None, "--mappedv6: not needed, Postfix looks IPv4 clients up as IPv4 since 2.2")


def _take_log(conf: Conf, plan: Plan, options: Options, used: set[str]) -> None:
    """Take $logto and $log_func: where the daemon's own words go."""
    used |= {"$logto", "$log_func"}
    plan.logto = conf.text("$logto") if options.logto is None else options.logto
    if plan.logto is not None and plan.logto != "-":
        plan.logto = str(Path(plan.logto).absolute())
    function = conf.value("$log_func")
    if isinstance(function, Code):
        plan.syslog = function.name == "syslog" and plan.logto is None
        if function.name != "syslog":
            plan.lost(conf.line("$log_func"), f'{_shown("$log_func", function)}: code is not run; write log = "syslog"')


def _take_source(conf: Conf, plan: Plan, options: Options, used: set[str]) -> None:
    """Take %file_tail and the functions that read a log."""
    used |= {"$file_tail{name}", "$tail_init_func", "$tail_getline_func"}
    line = conf.line("$file_tail{name}") if options.watchlog is None else None
    named = conf.text("$file_tail{name}") if options.watchlog is None else options.watchlog
    reader = conf.value("$tail_getline_func")
    if isinstance(reader, Code) and reader.name == "getline_stdin":
        named = "-" if options.watchlog is None else named
    elif isinstance(reader, Code) and reader.name != "getline_FileTail":
        plan.stop(
            conf.line("$tail_getline_func"),
            f"{_shown('$tail_getline_func', reader)}: code is not run; have the lines written into a file, or into our"
            " standard input with --watchlog=-",
        )
    elif isinstance(reader, Code):
        plan.note(conf.line("$tail_getline_func"), "File::Tail is not used: files are followed without it")
    begin = conf.value("$tail_init_func")
    if isinstance(begin, Code) and begin.name not in ("init_FileTail", "tail_init") and not begin.empty:
        plan.lost(conf.line("$tail_init_func"), f"{_shown('$tail_init_func', begin)}: code is not run")
    for name in _TIMINGS:
        used.add(f"$file_tail{{{name}}}")
    timed = [name for name in _TIMINGS if f"$file_tail{{{name}}}" in conf.settings]
    if timed:
        first = conf.line(f"$file_tail{{{timed[0]}}}")
        plan.note(first, f"$file_tail: {', '.join(timed)}: not needed, a line is read at once")
    if named is None:
        _find_log(conf, plan)
        return
    if named.strip().startswith(("|", ">", "+")) or named.strip().endswith("|"):
        name = f"$file_tail{{'name'}} = {named!r}" if options.watchlog is None else f"--watchlog={named}"
        plan.stop(line, f"{name}: no command is run; pipe its output into --watchlog=-")
        return
    named = named.strip().removeprefix("<").strip() or "-"
    plan.watchlog = named
    plan.source = named if named == "-" else str(Path(named).absolute())
    if named != "-" and not Path(plan.source).exists():
        other = next((each for each in conf.candidates if Path(each).is_file()), None)
        if other is not None:
            plan.note(line, f"{named} is not there yet and is waited for; the classic would have read {other} instead")


def _find_log(conf: Conf, plan: Plan) -> None:
    """Find the log where none is named, as the classic does; None lets the daemon look further."""
    places = [plan.watchlog, *(conf.candidates or (LOGS if not conf.settings else ()))]
    found = next((place for place in places if Path(place).is_file()), None)
    plan.watchlog = found or plan.watchlog
    plan.source = found


def _take_trusted(conf: Conf, plan: Plan, options: Options, used: set[str]) -> None:
    """Take $mynet_func and @mynets: the networks that need no authorization."""
    del options
    used |= {"$mynet_func", "@mynets", "$TCPRULES"}
    if "@mynets" in conf.settings:
        plan.lost(
            conf.line("@mynets"),
            "@mynets: had no effect in the classic either, which asks $mynet_func; write [rules] trusted",
        )
    function = conf.value("$mynet_func")
    if not isinstance(function, Code) or function.name == "mynet_postfix":
        return
    line = conf.line("$mynet_func")
    sub = conf.subs.get(function.name or "")
    returns = function.returns if sub is None else sub.returns
    if returns is None:
        plan.lost(line, f"{_shown('$mynet_func', function)}: code is not run; write [rules] trusted = […]")
        return
    place, name = (line, "$mynet_func") if sub is None else (sub.line, f"sub {function.name}")
    plan.trusted = []
    for part in re.split(r"[\s,]+", returns.strip()):
        network = _network(part)
        if network is None:
            if part:
                plan.lost(place, f"{name}: {part!r} is no network; write it into [rules] trusted")
        else:
            plan.trusted.append(network)
            if network not in (part, f"{part}/32"):
                plan.note(place, f"{name}: {part} is written {network}")


def _network(text: str) -> str | None:
    """Write a network without bits behind its prefix."""
    try:
        return str(parse_network(str(ipaddress.ip_network(text.replace("[", "").replace("]", ""), strict=False))))
    except ValueError:
        return None


def _take_output(conf: Conf, plan: Plan, options: Options, used: set[str]) -> None:
    """Take $dbfile, $dbvalue, and the functions that write."""
    used |= {"$dbfile", "$dbvalue", "$tie_func", "$sync_func", "$add_func", "$del_func", "$flock_func", "$ESMTPD"}
    plan.dbvalue = conf.text("$dbvalue") or plan.dbvalue
    plan.dbfile = options.dbfile or conf.text("$dbfile") or plan.dbfile
    tie = conf.value("$tie_func")
    if isinstance(tie, Code):
        output = _OUTPUTS.get(tie.name or "")
        if output is None:
            plan.stop(
                conf.line("$tie_func"),
                f'{_shown("$tie_func", tie)}: code is not run; write [[mta]] type = "command" with a program of yours',
            )
        plan.output = output or plan.output
    sync = conf.value("$sync_func")
    if isinstance(sync, Code) and sync.name not in _SYNCS and not sync.empty:
        plan.lost(
            conf.line("$sync_func"),
            f"{_shown('$sync_func', sync)}: code is not run; what must be told of a new map is [[mta]] reload = […]",
        )
    for name in ("$add_func", "$del_func"):
        function = conf.value(name)
        if isinstance(function, Code) and function.name not in ("add_DB", "del_DB"):
            plan.stop(
                conf.line(name),
                f'{_shown(name, function)}: code is not run; write [[mta]] type = "command" with grant and expire, or'
                " [block] where POP and IMAP addresses that fail shall be shut out (sshd's: fail2ban)",
            )
    lock = conf.value("$flock_func")
    if isinstance(lock, Code) and lock.name not in _LOCKS and not lock.empty:
        plan.note(conf.line("$flock_func"), f"{_shown('$flock_func', lock)}: nothing is locked here")
    _say_output(conf, plan, used)
    plan.dbfile = str(Path(plan.dbfile).absolute())


def _say_output(conf: Conf, plan: Plan, used: set[str]) -> None:
    line = conf.line("$tie_func")
    match plan.output:
        case "dbm":
            plan.lost(
                line,
                f"NDBM_File: dbm maps are not written; write check_client_access hash:{plan.dbfile} into main.cf, and"
                f" remove {plan.dbfile}.pag and .dir, for nobody takes clients out of them any more",
            )
        case "cdb" if not plan.dbfile.endswith(".cdb"):
            plan.lost(
                line, f"CDB_File: Postfix reads {plan.dbfile}.cdb, and that is written; the classic wrote {plan.dbfile}"
            )
        case "tcprules":
            own = own_rules(plan)
            plan.lost(
                line,
                f"tcprules: install contrib/qmail/tcp-rules, and write the rules that hold for all (the classic's last"
                f" one is `:allow`) into {own}; `trusted` gets no RELAYCLIENT from us, write it there",
            )
        case "courier":
            plan.lost(
                line,
                "Courier: install contrib/courier/smtpaccess; esmtpd is not stopped and started, it reads the new file",
            )
    used |= {"$dbh", "$signal_sendmail", "$pid_file", "$sendmail_pid", "$ft_handle"}
    if conf.value("$signal_sendmail"):
        plan.note(conf.line("$signal_sendmail"), "$signal_sendmail: not needed, Sendmail sees a map that was renamed")


def _name_the_rest(conf: Conf, plan: Plan, used: set[str]) -> None:
    """Name all that is left: variables without a meaning, subroutines, code."""
    referred = {each.value.name for each in conf.settings.values() if isinstance(each.value, Code)}
    for name, setting in conf.settings.items():
        if name == "$ENV{PATH}":
            plan.note(setting.line, "$ENV{'PATH'}: not needed, Postfix's programs are looked for where they lie")
        elif name not in used | conf.read:
            plan.lost(setting.line, f"{name} has no meaning here; leave it out")
    for line, name in conf.hidden:
        plan.stop(line, f"my ${name}: the classic never sees it, for `my` hides it; take `my` away, or the line")
    for name, sub in conf.subs.items():
        if name in _OVERRIDDEN:
            plan.stop(
                sub.line, f"sub {name}: code is not run, and it takes the place of the classic's own; leave it out"
            )
        elif name not in referred | {"custom_match", "mynet_sendmail", "mynet_tcprules", "mynet_courier"} | _LOCKS:
            plan.lost(sub.line, f"sub {name}: code is not run")
    for statement in conf.code:
        shown = " ".join(statement.text.split())
        shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
        if _DANGEROUS.search(statement.text):
            plan.stop(
                statement.line, f"`{shown}`: code is not run, and it decides what is matched or written; set a value"
            )
        else:
            plan.lost(statement.line, f"`{shown}`: code is not run")


def _shown(name: str, function: Code) -> str:
    return f"{name} = \\&{function.name}" if function.name else f"{name} = sub {{…}}"


_TABLE: tuple[Callable[[Conf, Plan, Options, set[str]], None], ...] = (
    _take_grace,
    _take_switches,
    _take_log,
    _take_source,
    _take_trusted,
    _take_output,
)
