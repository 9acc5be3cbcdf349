# Made by scripts/completions.ts from the commands: do not edit.
_vpref() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words= first=
  if [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W 'annotate augment doctor eval export import mix pair precompute-ref report sample score train --help --version' -- "$cur"))
    return
  fi
  case ${COMP_WORDS[1]} in
    annotate)
      case $prev in
        --batch) COMPREPLY=($(compgen -W 'submit collect' -- "$cur")); return ;;
        --on-error) COMPREPLY=($(compgen -W 'fail skip keep' -- "$cur")); return ;;
        --order) COMPREPLY=($(compgen -W 'shuffled given' -- "$cur")); return ;;
        --progress) COMPREPLY=($(compgen -W 'auto always never' -- "$cur")); return ;;
        --quantize) COMPREPLY=($(compgen -W 'none int8 nf4' -- "$cur")); return ;;
        --reward-api) COMPREPLY=($(compgen -W 'vllm-pooling vllm-classify sglang' -- "$cur")); return ;;
        --attempts|--base-url|--batch-dir|--cache|--claims|--concurrency|--guide|--judge|--key-env|--limit|--log|--max-cost|--max-tokens|--max-wait|-o|--output|--prices|--quantize-cache|--reasoning-tokens|--reward-template|--rpm|--runs|--seed|--shard|--summary|--temperature|--threads|--timeout|--top-p|--tpm) COMPREPLY=($(compgen -f -- "$cur")); return ;;
      esac
      words='--attempts --base-url --batch --batch-dir --cache --claims --concurrency --dry-run --guide --judge --key-env --limit --log --max-cost --max-tokens --max-wait --no-cache --no-schema --on-error --order -o --output --prices --progress --quantize --quantize-cache -q --quiet --reasoning-tokens --requeue --resume --reward-api --reward-template --rpm --runs --seed --shard --summary --temperature --threads --timeout --top-p --tpm --help'
      ;;
    augment)
      case $prev in
        --on-error) COMPREPLY=($(compgen -W 'fail skip keep' -- "$cur")); return ;;
        --progress) COMPREPLY=($(compgen -W 'auto always never' -- "$cur")); return ;;
        --image-dir|--limit|--op|-o|--output|--preview|--seed|--shard|--summary|--threads) COMPREPLY=($(compgen -f -- "$cur")); return ;;
      esac
      words='--image-dir --limit --on-error --op -o --output --preview --progress -q --quiet --replay --requeue --resume --seed --shard --summary --threads --help'
      ;;
    doctor)
      case $prev in
        --device) COMPREPLY=($(compgen -W 'auto cpu cuda' -- "$cur")); return ;;
        --dtype) COMPREPLY=($(compgen -W 'auto f32 bf16' -- "$cur")); return ;;
        --image-mode) COMPREPLY=($(compgen -W 'auto pad crop native tiles' -- "$cur")); return ;;
        --progress) COMPREPLY=($(compgen -W 'auto always never' -- "$cur")); return ;;
        --adapter|--image|--lora-r|--max-pixels|--memory-limit|--min-pixels|--model|-o|--output|--prompt-tokens|--response-tokens) COMPREPLY=($(compgen -f -- "$cur")); return ;;
      esac
      words='--adapter --device --dtype --headers-only --image --image-mode --lora-r --max-pixels --memory-limit --min-pixels --model -o --output --progress --prompt-tokens -q --quiet --response-tokens --help'
      ;;
    eval)
      case $prev in
        --duplicates) COMPREPLY=($(compgen -W 'error first last' -- "$cur")); return ;;
        --format) COMPREPLY=($(compgen -W 'ndjson table' -- "$cur")); return ;;
        --parse) COMPREPLY=($(compgen -W 'official strict' -- "$cur")); return ;;
        --progress) COMPREPLY=($(compgen -W 'auto always never' -- "$cur")); return ;;
        --test) COMPREPLY=($(compgen -W 'exact bootstrap' -- "$cur")); return ;;
        --baseline|--beta|--judge|--label|--labels|--max-failed|--on|-o|--output|--questions|--require|--resamples|--response|--seed|--split|--tables|--view) COMPREPLY=($(compgen -f -- "$cur")); return ;;
      esac
      words='--allow-missing --baseline --beta --duplicates --format --include-failed --judge --label --labels --max-failed --on -o --output --parse --progress --questions -q --quiet --require --resamples --response --seed --split --tables --test --view --help'
      first='alpaca-eval amber chair consistency drift exact gqa hallucination hallusionbench judge-agreement length llava-bench mmbench mmhal mmvet mt-bench objhal pope rewards scienceqa seed-bench shr compare gate published'
      ;;
    export)
      case $prev in
        --dtype) COMPREPLY=($(compgen -W 'f16 f32' -- "$cur")); return ;;
        --layout) COMPREPLY=($(compgen -W 'auto vision text' -- "$cur")); return ;;
        --on-error) COMPREPLY=($(compgen -W 'fail skip keep' -- "$cur")); return ;;
        --onto) COMPREPLY=($(compgen -W 'full quantised' -- "$cur")); return ;;
        --progress) COMPREPLY=($(compgen -W 'auto always never' -- "$cur")); return ;;
        --adapter|--dataset-info|--dataset-name|--image-dir|--image-root|--limit|--model|-o|--output|--seed|--shard|--summary|--threads) COMPREPLY=($(compgen -f -- "$cur")); return ;;
      esac
      words='--adapter --dataset-info --dataset-name --dtype --image-dir --image-root --layout --limit --model --on-error --onto -o --output --progress -q --quiet --requeue --resume --seed --shard --summary --threads --help'
      first='trl llama-factory ms-swift llava seva parquet merge'
      ;;
    import)
      case $prev in
        --clean) COMPREPLY=($(compgen -W 'none seva' -- "$cur")); return ;;
        --on-error) COMPREPLY=($(compgen -W 'fail skip keep' -- "$cur")); return ;;
        --progress) COMPREPLY=($(compgen -W 'auto always never' -- "$cur")); return ;;
        --protocol) COMPREPLY=($(compgen -W 'llava plain' -- "$cur")); return ;;
        --image-root|--limit|--noisy-images|-o|--output|--seed|--shard|--source|--summary|--threads|--turns) COMPREPLY=($(compgen -f -- "$cur")); return ;;
      esac
      words='--check-images --clean --faithful --image-root --limit --literal-marker --noisy-images --on-error -o --output --progress --protocol -q --quiet --requeue --resume --seed --shard --source --summary --threads --turns --help'
      first='llava lrv scigraphqa sharegpt trl llama-factory ms-swift alpaca openai seva helpsteer records alpaca-eval amber chair gqa hallusionbench judge-agreement llava-bench mmbench mmhal mmvet mt-bench objhal pope scienceqa seed-bench shr'
      ;;
    mix)
      case $prev in
        --on-error) COMPREPLY=($(compgen -W 'fail skip keep' -- "$cur")); return ;;
        --progress) COMPREPLY=($(compgen -W 'auto always never' -- "$cur")); return ;;
        --limit|-o|--output|--seed|--shard|--summary|--threads) COMPREPLY=($(compgen -f -- "$cur")); return ;;
      esac
      words='--limit --on-error -o --output --progress -q --quiet --requeue --resume --seed --shard --summary --threads --help'
      ;;
    pair)
      case $prev in
        --by) COMPREPLY=($(compgen -W 'claims' -- "$cur")); return ;;
        --from) COMPREPLY=($(compgen -W 'reference judge best' -- "$cur")); return ;;
        --on-error) COMPREPLY=($(compgen -W 'fail skip keep' -- "$cur")); return ;;
        --preset) COMPREPLY=($(compgen -W 'seva-7b seva-13b li2024-dpo li2024-sft li2024-steerlm li2024-rs llava-sft llava-sft-lora' -- "$cur")); return ;;
        --progress) COMPREPLY=($(compgen -W 'auto always never' -- "$cur")); return ;;
        --rule) COMPREPLY=($(compgen -W 'seva gap score best-of-n steerlm sft kto given' -- "$cur")); return ;;
        --ties) COMPREPLY=($(compgen -W 'first random drop' -- "$cur")); return ;;
        --weight-by) COMPREPLY=($(compgen -W 'gap' -- "$cur")); return ;;
        --doubt|--flip|--gap|--guide|--image-negatives|--judge|--label|--limit|--margin|--max-length|--max-length-ratio|--max-pairs|--max-repetition|--metrics|--min-length|--min-score|--negatives|-o|--output|--run|--seed|--shard|--summary|--threads|--threshold|--views) COMPREPLY=($(compgen -f -- "$cur")); return ;;
      esac
      words='--balance --by --doubt --faithful --finished --flip --from --gap --guide --image-negatives --judge --label --limit --margin --max-length --max-length-ratio --max-pairs --max-repetition --metrics --min-length --min-score --negatives --on-error -o --output --preset --progress -q --quiet --requeue --resume --rule --run --seed --shard --summary --threads --threshold --ties --views --weight-by --help'
      ;;
    precompute-ref)
      case $prev in
        --device) COMPREPLY=($(compgen -W 'auto cpu cuda' -- "$cur")); return ;;
        --dtype) COMPREPLY=($(compgen -W 'auto f32 bf16' -- "$cur")); return ;;
        --image-mode) COMPREPLY=($(compgen -W 'auto pad crop native tiles' -- "$cur")); return ;;
        --on-error) COMPREPLY=($(compgen -W 'fail skip keep' -- "$cur")); return ;;
        --preset) COMPREPLY=($(compgen -W 'seva-7b seva-13b li2024-dpo li2024-sft li2024-steerlm li2024-rs llava-sft llava-sft-lora' -- "$cur")); return ;;
        --progress) COMPREPLY=($(compgen -W 'auto always never' -- "$cur")); return ;;
        --quantize) COMPREPLY=($(compgen -W 'none int8 nf4' -- "$cur")); return ;;
        --adapter|--batch-tokens|--limit|--max-pixels|--min-pixels|--model|-o|--output|--quantize-cache|--seed|--shard|--summary|--template|--template-arg|--threads) COMPREPLY=($(compgen -f -- "$cur")); return ;;
      esac
      words='--adapter --batch-tokens --device --dtype --image-mode --limit --max-pixels --min-pixels --model --on-error -o --output --preset --progress --quantize --quantize-cache -q --quiet --requeue --resume --seed --shard --summary --template --template-arg --threads --verbose --help'
      ;;
    report)
      case $prev in
        --progress) COMPREPLY=($(compgen -W 'auto always never' -- "$cur")); return ;;
        --by|--max-images|--max-pairs|-o|--output|--title) COMPREPLY=($(compgen -f -- "$cur")); return ;;
      esac
      words='--by --max-images --max-pairs -o --output --progress -q --quiet --title --help'
      ;;
    sample)
      case $prev in
        --device) COMPREPLY=($(compgen -W 'auto cpu cuda' -- "$cur")); return ;;
        --dtype) COMPREPLY=($(compgen -W 'auto f32 bf16' -- "$cur")); return ;;
        --image-mode) COMPREPLY=($(compgen -W 'auto pad crop native tiles' -- "$cur")); return ;;
        --on-error) COMPREPLY=($(compgen -W 'fail skip keep' -- "$cur")); return ;;
        --preset) COMPREPLY=($(compgen -W 'seva-7b seva-13b li2024-dpo li2024-sft li2024-steerlm li2024-rs llava-sft llava-sft-lora' -- "$cur")); return ;;
        --progress) COMPREPLY=($(compgen -W 'auto always never' -- "$cur")); return ;;
        --quantize) COMPREPLY=($(compgen -W 'none int8 nf4' -- "$cur")); return ;;
        --adapter|--attempts|--batch-tokens|--beams|--concurrency|--endpoint|--key-env|--label|--limit|--max-new-tokens|--max-pixels|--min-pixels|--model|-n|--n|-o|--output|--quantize-cache|--seed|--shard|--steer|--stop|--stop-repeats|--summary|--temperature|--template|--template-arg|--threads|--timeout|--top-k|--top-p|--views) COMPREPLY=($(compgen -f -- "$cur")); return ;;
      esac
      words='--adapter --attempts --batch-tokens --beams --concurrency --device --dtype --endpoint --faithful --image-mode --key-env --label --limit --logps --max-new-tokens --max-pixels --min-pixels --model -n --n --on-error -o --output --preset --progress --quantize --quantize-cache -q --quiet --requeue --resume --seed --shard --steer --stop --stop-repeats --summary --temperature --template --template-arg --threads --timeout --top-k --top-p --verbose --views --help'
      ;;
    score)
      case $prev in
        --device) COMPREPLY=($(compgen -W 'auto cpu cuda' -- "$cur")); return ;;
        --dtype) COMPREPLY=($(compgen -W 'auto f32 bf16' -- "$cur")); return ;;
        --image-mode) COMPREPLY=($(compgen -W 'auto pad crop native tiles' -- "$cur")); return ;;
        --on-error) COMPREPLY=($(compgen -W 'fail skip keep' -- "$cur")); return ;;
        --progress) COMPREPLY=($(compgen -W 'auto always never' -- "$cur")); return ;;
        --quantize) COMPREPLY=($(compgen -W 'none int8 nf4' -- "$cur")); return ;;
        --view) COMPREPLY=($(compgen -W 'original' -- "$cur")); return ;;
        --adapter|--batch-tokens|--limit|--max-pixels|--min-pixels|--model|-o|--output|--quantize-cache|--seed|--shard|--summary|--template|--template-arg|--threads) COMPREPLY=($(compgen -f -- "$cur")); return ;;
      esac
      words='--adapter --batch-tokens --device --drift --dtype --image-mode --limit --max-pixels --min-pixels --model --on-error -o --output --progress --quantize --quantize-cache -q --quiet --requeue --resume --seed --shard --summary --template --template-arg --threads --verbose --view --help'
      ;;
    train)
      case $prev in
        --device) COMPREPLY=($(compgen -W 'auto cpu cuda' -- "$cur")); return ;;
        --dtype) COMPREPLY=($(compgen -W 'auto f32 bf16' -- "$cur")); return ;;
        --image-mode) COMPREPLY=($(compgen -W 'auto pad crop native tiles' -- "$cur")); return ;;
        --keep-best) COMPREPLY=($(compgen -W 'eval/loss eval/rewards/accuracies eval/rewards/margins eval/rewards/chosen eval/rewards/rejected eval/logps/chosen eval/logps/rejected' -- "$cur")); return ;;
        --loss-on) COMPREPLY=($(compgen -W 'last all' -- "$cur")); return ;;
        --lr-schedule) COMPREPLY=($(compgen -W 'cosine linear constant' -- "$cur")); return ;;
        --method) COMPREPLY=($(compgen -W 'dpo sft' -- "$cur")); return ;;
        --on-long) COMPREPLY=($(compgen -W 'fail drop' -- "$cur")); return ;;
        --preset) COMPREPLY=($(compgen -W 'seva-7b seva-13b li2024-dpo li2024-sft li2024-steerlm li2024-rs llava-sft llava-sft-lora' -- "$cur")); return ;;
        --progress) COMPREPLY=($(compgen -W 'auto always never' -- "$cur")); return ;;
        --quantize) COMPREPLY=($(compgen -W 'none int8 nf4' -- "$cur")); return ;;
        --recompute) COMPREPLY=($(compgen -W 'auto 0 1 2 3' -- "$cur")); return ;;
        --zero) COMPREPLY=($(compgen -W 'auto 0 1' -- "$cur")); return ;;
        --adapter|--batch-size|--batch-tokens|--beta|--cpo-alpha|--desirable-weight|--early-stop|--epochs|--eval|--eval-every|--init-adapter|--keep-checkpoints|--label-smoothing|--limit|--local-rank|--log|--lora-alpha|--lora-dropout|--lora-pattern|--lora-r|--lora-targets|--loss|--lr|--max-grad-norm|--max-length|--max-pixels|--max-steps|--memory-limit|--min-pixels|--model|--orpo-lambda|-o|--output|--projector-lr|--quantize-cache|--ranks|--sample-every|--sample-prompts|--save-every|--save-gradients|--seed|--simpo-gamma|--summary|--template|--template-arg|--threads|--undesirable-weight|--warmup-ratio|--warmup-steps|--weight-decay) COMPREPLY=($(compgen -f -- "$cur")); return ;;
      esac
      words='--adapter --allow-ref-mismatch --batch-size --batch-tokens --beta --cpo-alpha --desirable-weight --device --dtype --early-stop --epochs --eval --eval-every --faithful --image-mode --init-adapter --keep-best --keep-checkpoints --label-smoothing --limit --local-rank --log --lora-alpha --lora-dropout --lora-pattern --lora-r --lora-targets --loss --loss-on --lr --lr-schedule --max-grad-norm --max-length --max-pixels --max-steps --memory-limit --method --min-pixels --model --no-shuffle --on-long --orpo-lambda -o --output --preset --progress --projector-lr --quantize --quantize-cache -q --quiet --ranks --recompute --requeue --resume --rslora --sample-every --sample-prompts --save-every --save-gradients --seed --simpo-gamma --summary --template --template-arg --threads --train-language-model --train-projector --undesirable-weight --verbose --warmup-ratio --warmup-steps --weight-decay --zero --help'
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
