# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What to do about failures that are Ansible's, ssh's or sudo's own, and that do not say it themselves."""

import re

# What is found in a failure, and the sentence that follows it. The first one that fits is told.
_KNOWN = (
    (
        r"you must have a tty to run sudo",
        (
            "Its sudo has 'requiretty', and pipelining opens no terminal: put 'Defaults:USER !requiretty', USER being "
            "Ansible's, below /etc/sudoers.d, "
            "or set ansible_ssh_pipelining=false for that host."
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
    """Return ``text`` with what to do about it, where that is known from it or from ``more``, all that a program
    said.
    """
    remedy = next((remedy for pattern, remedy in _KNOWN if re.search(pattern, f"{text}\n{more}", re.MULTILINE)), "")
    if not remedy or remedy in text:
        return text
    return f"{text}{'' if text.rstrip().endswith(('.', ')')) else '.'} {remedy}"
