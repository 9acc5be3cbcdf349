// SPDX-License-Identifier: Apache-2.0
// Writes completions/vpref.{bash,zsh,fish} from the flags' definitions: static files, so completion never starts vpref.
import { type CommandEntry, emit, type Flag, listFlags, readCommands } from './manifest.ts';

const commands = readCommands();
const head = '# Made by scripts/completions.ts from the commands: do not edit.';

emit('completions/vpref.bash', bash());
emit('completions/_vpref', zsh());
emit('completions/vpref.fish', fish());

function spellings(flag: Flag): string[] {
  const long = flag.allowNo ? [`--${flag.name}`, `--no-${flag.name}`] : [`--${flag.name}`];
  return flag.char ? [`-${flag.char}`, ...long] : long;
}

function argChoices(command: CommandEntry): string[] {
  return Object.values(command.args)[0]?.options ?? [];
}

function bash(): string {
  const cases = commands.map((command) => {
    const flags = listFlags(command);
    const values = flags
      .filter((flag) => flag.options)
      .map(
        (flag) =>
          `        ${spellings(flag).join('|')}) COMPREPLY=($(compgen -W '${flag.options!.join(' ')}' -- "$cur")); return ;;`,
      );
    const files = flags.filter((flag) => flag.type === 'option' && !flag.options).flatMap(spellings);
    const body = [
      ...(values.length + files.length > 0 ? ['      case $prev in', ...values] : []),
      ...(files.length > 0 ? [`        ${files.join('|')}) COMPREPLY=($(compgen -f -- "$cur")); return ;;`] : []),
      ...(values.length + files.length > 0 ? ['      esac'] : []),
      `      words='${flags.flatMap(spellings).join(' ')} --help'`,
      ...(argChoices(command).length > 0 ? [`      first='${argChoices(command).join(' ')}'`] : []),
      '      ;;',
    ];
    return `    ${command.id})\n${body.join('\n')}`;
  });
  return `${head}
_vpref() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} words= first=
  if [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W '${commands.map(({ id }) => id).join(' ')} --help --version' -- "$cur"))
    return
  fi
  case \${COMP_WORDS[1]} in
${cases.join('\n')}
  esac
  if [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
  elif [ "$COMP_CWORD" = 2 ] && [ -n "$first" ]; then
    COMPREPLY=($(compgen -W "$first" -- "$cur"))
  else
    COMPREPLY=($(compgen -f -- "$cur"))
  fi
}
complete -o filenames -F _vpref vpref
`;
}

function zsh(): string {
  const quote = (text: string) =>
    text
      .replace(/[[\]:\\]/g, '\\$&')
      .replaceAll("'", "'\\''")
      .replaceAll('`', '');
  const cases = commands.map((command) => {
    const lines = listFlags(command).flatMap((flag) =>
      spellings(flag).map((name) => {
        const value =
          flag.type === 'boolean' ? '' : flag.options ? `:value:(${flag.options.join(' ')})` : ':value:_files';
        return `      '${flag.multiple ? '*' : ''}${name}[${quote(flag.summary ?? flag.description ?? '')}]${value}'`;
      }),
    );
    const choices = argChoices(command);
    if (choices.length > 0) lines.push(`      '1:${Object.keys(command.args)[0]}:(${choices.join(' ')})'`);
    lines.push("      '*:file:_files'");
    return `    ${command.id}) _arguments -s \\\n${lines.join(' \\\n')} ;;`;
  });
  return `#compdef vpref
${head}
_vpref() {
  local -a verbs=(
${commands.map(({ id, summary }) => `    '${id}:${quote(summary ?? '')}'`).join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe verb verbs
    return
  fi
  local verb=$words[2]
  shift words
  (( CURRENT-- ))
  case $verb in
${cases.join('\n')}
  esac
}
_vpref "$@"
`;
}

function fish(): string {
  const quote = (text: string) => `'${text.replace(/['\\]/g, '\\$&')}'`;
  const lines = commands.flatMap((command) => {
    const here = `complete -c vpref -n '__fish_seen_subcommand_from ${command.id}'`;
    const choices = argChoices(command);
    return [
      `complete -c vpref -n __fish_use_subcommand -f -a ${command.id} -d ${quote(command.summary ?? '')}`,
      ...(choices.length > 0 ? [`${here} -a ${quote(choices.join(' '))}`] : []),
      ...listFlags(command).map((flag) => {
        const char = flag.char ? ` -s ${flag.char}` : '';
        const value = flag.type === 'boolean' ? '' : flag.options ? ` -x -a ${quote(flag.options.join(' '))}` : ' -r';
        return `${here}${char} -l ${flag.name}${value} -d ${quote(flag.summary ?? flag.description ?? '')}`;
      }),
    ];
  });
  return `${head}\n${lines.join('\n')}\n`;
}
