# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Add the fix to failure messages of Ansible, ssh and sudo, which do not name one."""

import re

# A pattern in a message, and the fix to append. The first match wins.
_KNOWN = (
    (
        r"you must have a tty to run sudo",
        (
            "Its sudo has 'requiretty', but pipelining opens no terminal. Fix: Add 'Defaults:USER !requiretty' for "
            "Ansible's user below /etc/sudoers.d, or set ansible_ssh_pipelining=false for that host."
        ),
    ),
    (
        (
            r"a password is required|Missing sudo password|Incorrect sudo password|Timeout \(\d+s\) waiting for "
            r"privilege "
            r"escalation"
        ),
        (
            "Let Ansible's user run sudo without a password (NOPASSWD below /etc/sudoers.d), or keep it in "
            "ansible_become_password, in a vault."
        ),
    ),
    (
        r"is not in the sudoers file|is not allowed to execute|not allowed to run sudo",
        "Allow Ansible's user to run sudo there, or name another in ansible_user.",
    ),
    (r"(^|[/ ])sudo: (command )?not found", "Install sudo there, or name another way in ansible_become_method."),
    (
        r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED",
        "Log in once with ssh by hand and compare the key, or put it into known_hosts.",
    ),
    (
        r"Permission denied \(.*publickey",
        "Let 'ssh' log in there without a question: an ssh-agent with the key, or ansible_ssh_private_key_file.",
    ),
    (
        r"python3?[0-9.]*: (command )?not found|No such file or directory: '?\S*python|interpreter .* was not found",
        "Install python3 there, or name it in ansible_python_interpreter.",
    ),
)


def told(text: str, more: str = "") -> str:
    """Return ``text`` followed by the fix, if one matches it or ``more``, the full output of a program."""
    remedy = next((remedy for pattern, remedy in _KNOWN if re.search(pattern, f"{text}\n{more}", re.MULTILINE)), "")
    if not remedy or remedy in text:
        return text
    return f"{text}{'' if text.rstrip().endswith(('.', ')')) else '.'} {remedy}"
