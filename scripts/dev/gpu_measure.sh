#!/usr/bin/env bash
# GPU measurements in order of importance, each with a time limit; OUT gets logs/ and the same as measurements.tar.gz.
#   scripts/dev/gpu_measure.sh OUT [SECTION ...]          sections: tests follows update ours published engine large
#                                                     lora small int4 soak real two instep (default: tests update ours published)
# Starting trainer and engine takes minutes on a machine with cold files; the limits allow for that. Section real needs REAL_MODEL=FOLDER.
# Needs torch, vLLM and verl importable by $PYTHON (python3). A section that fails does not stop the next one.
set -uo pipefail
out=${1:?usage: scripts/dev/gpu_measure.sh OUT [SECTION ...]}; shift
sections=("$@"); [ ${#sections[@]} -gt 0 ] || sections=(tests update ours published)
python=${PYTHON:-python3}
cd "$(dirname "$0")/../.."
mkdir -p "$out/logs"; final=$(cd "$out" && pwd); out=$final/logs
models=${MODELS:-${TMPDIR:-/tmp}/azr-models}; runs=${RUNS:-${TMPDIR:-/tmp}/azr-gpu-runs}  # run directories hold checkpoints of gigabytes
leave=${LEAVE_GIB:-16}; fraction=${FRACTION:-0.25}
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

run() { # run SECONDS NAME COMMAND...
  local limit=$1 name=$2 started=$SECONDS; shift 2
  echo "== $name: $*"
  timeout -k 10 "$limit" "$@" >"$out/$name.log" 2>&1
  local status=$?
  echo "== $name: status $status after $((SECONDS - started)) s"; tail -n "${TAIL:-25}" "$out/$name.log" | cut -c1-400
}
collect() { # logs and figures of the runs so far, as one archive
  [ -d "$runs" ] && find "$runs" -name trainer.log -o -name metrics.jsonl | while read -r log; do
    name=${log#"$runs"/}; tail -c 400000 "$log" >"$out/${name//\//_}"
  done
  tar czf "$final/.$BASHPID" -C "$final" logs; mv "$final/.$BASHPID" "$final/measurements.tar.gz"
}
while sleep 60; do collect; done >/dev/null 2>&1 & collector=$!  # whoever ends this script may not ask
trap 'kill "$collector" 2>/dev/null' EXIT
model() { # model SIZE [--int4]
  local folder=$models/$1${2:-}
  [ -f "$folder/config.json" ] || "$python" scripts/dev/make_random_model.py "$1" "$folder" ${2:+"$2"} >>"$out/models.log" 2>&1; echo "$folder"
}

nvidia-smi --query-gpu=name,memory.total,memory.used,driver_version --format=csv | tee "$out/gpu.txt"
for section in "${sections[@]}"; do
  case $section in
    tests)  # kernels against float64 and plain torch
      run 150 tests "$python" -m pytest -q -m gpu -p no:cacheprovider tests/train/test_attention.py tests/train/test_logprobs.py tests/train/test_optimizers.py tests/train/test_compile_layers.py ;;
    follows) # the engine has the trainer's weights, and adapters that have grown, after its sleep
      run 900 follows "$python" -m pytest -q -s -m gpu -p no:cacheprovider tests/train/test_engine_follows.py ;;
    update) # the update phase alone, against the stock one in the same run
      run 400 update_0_5b "$python" scripts/dev/bench_update.py --size 0.5b --ways stock ours ours+liger ours+compile --json "$out/update_0_5b.json"
      run 400 update_1_5b "$python" scripts/dev/bench_update.py --size 1.5b --optimizer adamw_8bit --at-once 8192 --ways stock ours ours+liger ours+compile --json "$out/update_1_5b.json"
      run 300 update_3b "$python" scripts/dev/bench_update.py --size 3b --lora-rank 32 --optimizer adamw_8bit --at-once 8192 --ways ours+units ours ours+compile --json "$out/update_3b.json" ;;
    ours)   # whole steps of the driver's trainer, under the hold
      run 420 step_ours "$python" scripts/dev/bench_step.py 0_5b_16gb --model "$(model 0.5b)" --leave-gib "$leave" --fraction "$fraction" --steps 3 --timeout-s 400 --keep "$runs/ours" --json "$out/step_0_5b_16gb.json" ;;
    published)  # the same work with the published settings, which do not fit under the hold, and with ours, in one run
      run 900 step_published "$python" scripts/dev/bench_step.py published_single_gpu 0_5b_16gb --model "$(model 0.5b)" --leave-gib "$leave" --no-hold published_single_gpu --fraction "$fraction" --steps 3 --timeout-s 440 --require-speedup 6 --keep "$runs/published" --json "$out/step_published.json" ;;
    engine) # generation alone, same prompts and lengths
      run 240 engine_0_5b "$python" scripts/dev/bench_engine.py 0_5b_16gb --model "$(model 0.5b)" --card-gib "$leave" --fraction "$fraction" --json "$out/engine_0_5b.json" ;;
    large)
      run 420 step_1_5b "$python" scripts/dev/bench_step.py 1_5b_16gb --model "$(model 1.5b)" --leave-gib "$leave" --fraction "$fraction" --steps 3 --timeout-s 400 --keep "$runs/1_5b" --json "$out/step_1_5b_16gb.json" ;;
    lora)   # and a second trainer that resumes the first one's checkpoint
      run 700 step_3b "$python" scripts/dev/bench_step.py 3b_lora_16gb --model "$(model 3b)" --leave-gib "$leave" --fraction "$fraction" --steps 3 --resume 1 --timeout-s 460 --keep "$runs/3b" --json "$out/step_3b_lora_16gb.json" ;;
    small)  # the recipe of an 8 GB card
      run 420 step_8gb "$python" scripts/dev/bench_step.py 0_5b_8gb --model "$(model 0.5b)" --leave-gib 8 --fraction "$fraction" --steps 3 --timeout-s 400 --keep "$runs/8gb" --json "$out/step_0_5b_8gb.json" ;;
    int4)   # adapters over an int4 base: 7B in 16 and 12 GiB, 3B in 8; a second trainer resumes the first
      for each in "7b_int4_16gb 7b 16" "7b_int4_12gb 7b 12" "3b_int4_8gb 3b 8"; do
        read -r recipe size gib <<<"$each"
        run 700 "step_$recipe" "$python" scripts/dev/bench_step.py "$recipe" --model "$(model "$size" --int4)" --leave-gib "$gib" --fraction "$fraction" --steps 3 --resume 1 --timeout-s 330 --keep "$runs/int4" --json "$out/step_$recipe.json"
        collect  # the next may be the last
      done ;;
    soak)   # 100 sleep/wake cycles with training between: short responses, two seconds a step; at 1e-6 random rewards ruin a random model
      run 560 soak "$python" scripts/dev/bench_step.py 0_5b_16gb --model "$(model 0.5b)" --leave-gib "$leave" --fraction 0.1 --prompt 600 --response 60 --override selfplay.difficulty_samples=2 train.learning_rate=1e-7 --steps 100 --timeout-s 540 --keep "$runs/soak" --json "$out/soak.json" ;;
    real)   # real weights under the hold: two commands, the second resumes the first, then before against after
      [ -d "${REAL_MODEL:-}" ] || { echo "section real needs REAL_MODEL=FOLDER" >&2; continue; }
      "$python" scripts/dev/hold_gpu_memory.py --leave "$leave" >"$out/hold.log" 2>&1 & holder=$!
      trap 'kill -9 "$holder" "$collector" 2>/dev/null' EXIT  # Ctrl+C too: nothing keeps the card
      for _ in $(seq 60); do grep -q holding "$out/hold.log" && break; sleep 1; done
      total=$("$python" -c "from azr.system.hardware import detect; print(detect().cards[0].total_gib)")
      settings=(recipe=0_5b_16gb "name=real" "runs_dir=$runs" "model.path=$REAL_MODEL" selfplay.frame="${FRAME:-short}" selfplay.batch_size=16
        rollout.max_prompt_tokens=2048 rollout.max_response_tokens=512 budget.gpu_limit_gib="$leave"
        rollout.gpu_memory_share="$("$python" -c "from azr.config.load import load_config
print(round(load_config(['recipe=0_5b_16gb']).config.rollout.gpu_memory_share * $leave / $total, 4))")" train.save_every_steps=1000)
      for part in 1 2; do  # each a cycle of its own, which ends when its hours are used up
        hours=$("$python" -c "print(round($part * ${REAL_LIMIT_S:-480} / 3600, 4))")
        echo "== real, command $part: ${settings[*]} ${REAL_SETTINGS:-} campaign.hours=$hours"
        timeout -s INT -k 60 700 "$python" azr_single_gpu_pipeline.py "${settings[@]}" ${REAL_SETTINGS:-} campaign.hours="$hours" >"$out/real_$part.log" 2>&1
        echo "== real, command $part: status $?"; tail -n 5 "$out/real_$part.log" | cut -c1-400
        collect
      done
      kill -9 "$holder"
      run 500 real_evaluate "$python" scripts/evaluate.py "$runs/real@0" "$runs/real" --suite probes=data/probes/general.jsonl --suite proposals --temperature 1.0 --samples 2 --gpu-memory-share 0.3 --out "$runs/real_evaluate"
      cp "$runs/real_evaluate/result.json" "$out/real_evaluate.json"
      cp "$runs/real/metrics.jsonl" "$out/real_metrics.jsonl"; tail -n 100 "$runs"/real/cycles/*/transcripts.jsonl >"$out/real_transcripts.jsonl" ;;
    two)    # the same steps on two cards (FULL_SHARD)
      run 480 step_two "$python" scripts/dev/bench_step.py 0_5b_16gb --model "$(model 0.5b)" --fraction "$fraction" --steps 3 --override train.n_gpus_per_node=2 --timeout-s 460 --keep "$runs/two" --json "$out/step_two.json" ;;
    instep) # the update in the worker against the same alone, and where the rest goes; then in a whole step
      for each in "0_5b_16gb 0.5b" "1_5b_16gb 1.5b" "3b_lora_16gb 3b"; do
        read -r recipe size <<<"$each"
        run 150 "instep_$size" "$python" scripts/dev/update_worker.py "$recipe" --model "$(model "$size")" --json "$out/instep_$size.json"
      done
      run 400 instep_step "$python" scripts/dev/bench_step.py 1_5b_16gb --model "$(model 1.5b)" --fraction "$fraction" --steps 5 --explain-update --timeout-s 380 --keep "$runs/instep" --json "$out/instep_step.json" ;;
    *) echo "unknown section $section" >&2 ;;
  esac
  collect
done
rm -rf "$runs"
