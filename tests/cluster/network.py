"""Cuts network connections of the loopback interface with iptables, if this process may do that."""

import os
import shutil
import subprocess

DIRECTIONS = {
    "both directions": ("--dport", "--sport"),
    "requests lost": ("--dport",),
    "replies lost": ("--sport",),
}


class Network:
    """Rules that drop the packets to or from a port. `heal` removes them."""

    def __init__(self):
        self.iptables = shutil.which("iptables", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        self.rules = []
        self.is_available = bool(self.iptables) and os.geteuid() == 0 and self.can_drop()

    def can_drop(self):
        """Returns whether a rule can be added: in a container, iptables may lack the permission or a module."""
        self.drop("--dport", "1")
        can_drop = bool(self.rules)
        self.heal()
        return can_drop

    def missing_faults(self):
        return {} if self.is_available else {"cut_network": "needs root, iptables, and the permission to use it"}

    def change(self, action, *rule):
        command = [self.iptables, "-w", "5", action, "OUTPUT", *rule]
        return subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL).returncode == 0

    def drop(self, *match):
        rule = ("-o", "lo", "-p", "tcp", *match, "-j", "DROP")
        if self.change("-A", *rule):
            self.rules.append(rule)

    def cut(self, port, direction):
        """Drops the packets between a port and its clients, in one of `DIRECTIONS`."""
        for side in DIRECTIONS[direction]:
            self.drop(side, str(port))

    def heal(self):
        while self.rules:
            self.change("-D", *self.rules.pop())
