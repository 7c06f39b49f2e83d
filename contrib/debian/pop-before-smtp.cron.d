# Ends windows that are over where no daemon runs; under systemd pop-before-smtp-sweep.timer does it.
* * * * * pop-before-smtp [ -d /run/systemd/system ] || [ ! -x /usr/bin/pop-before-smtp ] || /usr/bin/pop-before-smtp sweep
