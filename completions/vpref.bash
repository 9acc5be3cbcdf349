# Made by scripts/completions.ts from the commands: do not edit.
_vpref() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words= first=
  if [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W 'annotate augment doctor report --help --version' -- "$cur"))
    return
  fi
  case ${COMP_WORDS[1]} in
    annotate)
      case $prev in
        --batch) COMPREPLY=($(compgen -W 'submit collect' -- "$cur")); return ;;
        --on-error) COMPREPLY=($(compgen -W 'fail skip keep' -- "$cur")); return ;;
        --order) COMPREPLY=($(compgen -W 'shuffled given' -- "$cur")); return ;;
        --progress) COMPREPLY=($(compgen -W 'auto always never' -- "$cur")); return ;;
        --attempts|--base-url|--batch-dir|--cache|--concurrency|--guide|--judge|--key-env|--limit|--log|--max-cost|--max-tokens|--max-wait|-o|--output|--prices|--reasoning-tokens|--rpm|--runs|--seed|--shard|--temperature|--threads|--timeout|--top-p|--tpm) COMPREPLY=($(compgen -f -- "$cur")); return ;;
      esac
      words='--attempts --base-url --batch --batch-dir --cache --concurrency --dry-run --guide --judge --key-env --limit --log --max-cost --max-tokens --max-wait --no-cache --no-schema --on-error --order -o --output --prices --progress -q --quiet --reasoning-tokens --resume --rpm --runs --seed --shard --temperature --threads --timeout --top-p --tpm --help'
      ;;
    augment)
      case $prev in
        --on-error) COMPREPLY=($(compgen -W 'fail skip keep' -- "$cur")); return ;;
        --progress) COMPREPLY=($(compgen -W 'auto always never' -- "$cur")); return ;;
        --image-dir|--limit|--op|-o|--output|--preview|--seed|--shard|--threads) COMPREPLY=($(compgen -f -- "$cur")); return ;;
      esac
      words='--image-dir --limit --on-error --op -o --output --preview --progress -q --quiet --replay --resume --seed --shard --threads --help'
      ;;
    doctor)
      case $prev in
        --progress) COMPREPLY=($(compgen -W 'auto always never' -- "$cur")); return ;;
        -o|--output) COMPREPLY=($(compgen -f -- "$cur")); return ;;
      esac
      words='-o --output --progress -q --quiet --help'
      ;;
    report)
      case $prev in
        --progress) COMPREPLY=($(compgen -W 'auto always never' -- "$cur")); return ;;
        --max-images|--max-pairs|-o|--output|--title) COMPREPLY=($(compgen -f -- "$cur")); return ;;
      esac
      words='--max-images --max-pairs -o --output --progress -q --quiet --title --help'
      ;;
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
