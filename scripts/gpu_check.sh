#!/usr/bin/env bash
# What only a GPU can show, in at most ten minutes: the tests of kernels that need one, the speed of
# loss, shared prefix and engine, and a run of OpenRLHF. Figures and machine are written to
# $OUT/gpu_check.json.
#
#   pip install liger-kernel          # optional: Liger's kernel beside ours
#   pip install 'longspan[openrlhf]'  # optional: the engine for clusters, on this one GPU
#   TRL_PYTHON=trl/bin/python scripts/gpu_check.sh
#   PARTS="loss openrlhf" scripts/gpu_check.sh   # only these
#
# Each part has a time limit of its own, all together have ten minutes; a part that fails does not
# stop the others, and the script ends with 1 if one did. DEVICE=cpu SIZE=small tests the script
# itself: all of it, in small and with ten times the limits: a machine without a GPU may be slow.
set -uo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-.venv/bin/python}
TRL_PYTHON=${TRL_PYTHON:-}
DEVICE=${DEVICE:-cuda}
DTYPE=${DTYPE:-bfloat16}
SIZE=${SIZE:-full}
OUT=${OUT:-out/gpu_check}
KNOWN="tests loss shared-prefix engine openrlhf"
ASKED=${PARTS:-}
PARTS=${PARTS:-$KNOWN}
TOTAL_SECONDS=570 # and what ends a part that does not end by itself
export HF_HUB_OFFLINE=1
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
rm -f "$OUT"/*.json "$OUT"/*.txt
rm -rf "$OUT/openrlhf" "$OUT/work"
failed=0
for name in $PARTS; do
    case " $KNOWN " in *" $name "*) ;; *)
        echo "no part $name; PARTS may name: $KNOWN" >&2
        exit 2 ;;
    esac
done

# part NAME SECONDS COMMAND...: runs a command, its output in NAME.txt ("loss-1024" belongs to loss)
part() {
    local name=$1 limit=$2 left=$((TOTAL_SECONDS - SECONDS))
    shift 2
    case " $PARTS " in *" $name "* | *" ${name%-[0-9]*} "*) ;; *) return ;; esac
    if [ "$SIZE" = full ]; then
        limit=$((limit < left ? limit : left))
    else
        limit=$((limit * 10))
    fi
    echo "== $name"
    if [ "$limit" -gt 0 ] && timeout -k 10 "$limit" "$@" >"$OUT/$name.txt" 2>&1; then
        tail -n 12 "$OUT/$name.txt"
    else
        echo "FAILED: $* (see $OUT/$name.txt)"
        tail -n 3 "$OUT/$name.txt" || echo "no time was left for it"
        failed=1
    fi
}

on=(--device "$DEVICE" --dtype "$DTYPE" --threads 1)
paths=(naive statistics loss)
"$PYTHON" -c "import liger_kernel.transformers" 2>/dev/null && paths+=(liger)
sides=(longspan "without rollout" "without prefix" "without loss")
[ -n "$TRL_PYTHON" ] && sides+=(trl)

if [ "$SIZE" = full ]; then
    loss=(--tokens 50000 --repeats 1)
    widths=(1024 2560) # of Qwen3-0.6B and of Qwen3-4B
    prefix=(--shape qwen3-0.6b --repeats 1)
    engine=(--shape qwen3-0.6b --workloads long --trl-micro-batch 16 --repeats 1)
else
    loss=(--tokens 64 --vocabulary 1000 --repeats 1)
    widths=(32)
    prefix=(--shape nano --prompt-tokens 520 --response-tokens 8 --group-size 2 --repeats 1)
    engine=(--shape nano --workloads fixed --trl-micro-batch 8 --repeats 1 --steps 1)
    engine+=(--group-size 2 --max-new-tokens 2)
fi
cluster=single_gpu
[ "$DEVICE" = cpu ] && cluster=cpu

part tests 60 "$PYTHON" -m pytest -q -p no:cacheprovider \
    tests/trainers/test_entropy.py tests/trainers/local/test_prefix_attention.py
for width in "${widths[@]}"; do
    part "loss-$width" 60 "$PYTHON" benchmarks/streamed_logprobs.py "${on[@]}" "${loss[@]}" \
        --hidden "$width" --paths "${paths[@]}" --out "$OUT/loss-$width.json"
done
part shared-prefix 110 "$PYTHON" benchmarks/shared_prefix.py "${on[@]}" "${prefix[@]}" \
    --out "$OUT/shared-prefix.json"
part engine 140 "$PYTHON" benchmarks/engine_vs_trl.py "${on[@]}" "${engine[@]}" \
    ${TRL_PYTHON:+--trl-python "$TRL_PYTHON"} --sides "${sides[@]}" --work "$OUT/work" \
    --out "$OUT/engine.json"
# OpenRLHF comes last: what the others leave of the time is its own.
missing=$("$PYTHON" - "$DEVICE" <<'PYTHON'
import importlib.util
import sys

needed = ["openrlhf", "vllm", "ray", "deepspeed"] + ["flash_attn"] * (sys.argv[1] != "cpu")
print(*(name for name in needed if importlib.util.find_spec(name) is None))
PYTHON
)
if [ -z "$missing" ]; then
    part openrlhf 250 "$PYTHON" -m longspan.harness.cli train scripts/openrlhf/two_stages.yaml \
        --out "$OUT/openrlhf" --engine openrlhf --cluster "$cluster" --no-resume
else
    case " $PARTS " in *" openrlhf "*)
        echo "== openrlhf is left out: not installed: $missing"
        PARTS=${PARTS/openrlhf/}
        [ -z "$ASKED" ] || failed=1 ;;
    esac
fi

"$PYTHON" - "$OUT" "$failed" "$PARTS" "$missing" <<'PYTHON'
import json
import pathlib
import sys

folder = pathlib.Path(sys.argv[1])
parts = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
steps = {
    path.parent.name: [json.loads(line) for line in path.read_text().splitlines()]
    for path in sorted(folder.glob("openrlhf/stages/*/metrics.jsonl"))
    if "openrlhf" in sys.argv[3]
}
tests = folder / "tests.txt"
found = {
    "all_parts_ran": sys.argv[2] == "0" and not sys.argv[4],
    "not_installed": sys.argv[4].split(),
    "tests": tests.read_text().strip().splitlines()[-1:] if tests.exists() else [],
    "parts": parts,
    "openrlhf": steps,
}
(folder / "gpu_check.json").write_text(json.dumps(found, indent=1) + "\n")
PYTHON
[ $? = 0 ] || failed=1
echo "== figures: $OUT/gpu_check.json"
exit "$failed"
