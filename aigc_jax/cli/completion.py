"""The command ``aigc-jax completion``: a script that completes commands, configs and options in a shell."""

from __future__ import annotations

import importlib

from aigc_jax.cli.arguments import Completion
from aigc_jax.cli.main import COMMANDS, CONFIGURED
from aigc_jax.cli.parsing import option_names
from aigc_jax.configs import config_names
from aigc_jax.runs import load_config

SCRIPT = """\
_aigc_jax() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" second="" words=""
    [ "$COMP_CWORD" -gt 2 ] && second="${{COMP_WORDS[2]}}"
    case "$COMP_CWORD ${{COMP_WORDS[1]}} $second" in
        1\\ *) words="{commands}" ;;
{cases}
    esac
    [[ "$words" == --* && "$word" != -* ]] && words=""
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _aigc_jax aigc-jax
"""

ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


def completion(arguments: Completion) -> int:
    """Print the script; where nothing matches, the shell completes files."""
    arguments_module, cases = importlib.import_module("aigc_jax.cli.arguments"), {}
    settings = {name: option_names(load_config(name).Config()) for name in config_names()}
    for command, (_, kind, *_) in CONFIGURED.items():
        options = option_names(getattr(arguments_module, kind))
        cases |= {f"{command} {name}": [*options, *of_config] for name, of_config in settings.items()}
        cases[f"{command} *"] = config_names()
    for command, (_, kind, _) in COMMANDS.items():
        options = option_names(getattr(arguments_module, kind))
        cases[command if " " in command else f"{command} *"] = options
    cases["launch local"] = option_names(arguments_module.LaunchLocal)
    cases["data *"], cases["launch *"], cases["completion *"] = ["prepare", "list"], ["local"], ["bash", "zsh"]
    cases["help *"] = [*CONFIGURED, *(command for command in COMMANDS if " " not in command), "data", "launch"]
    lines = []
    for pattern, words in cases.items():
        escaped = pattern.replace(" ", "\\ ")
        lines.append(f'        *\\ {escaped}) words="{" ".join(words)}" ;;')
    commands = " ".join(dict.fromkeys([*CONFIGURED, *(command.split()[0] for command in COMMANDS), "launch", "help"]))
    print((ZSH if arguments.shell == "zsh" else "") + SCRIPT.format(commands=commands, cases="\n".join(lines)), end="")
    return 0
