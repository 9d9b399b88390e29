#!/usr/bin/env bash
# Measures bsscale on a machine with a GPU, in a given time, and writes everything to one folder.
#
#     OUT=results bash tests/benchmarks/gpu.sh 330 env smoke time eval tests bench
#     OUT=results bash tests/benchmarks/gpu.sh 330 smoke study nccl compiled
#     DEVICE=cpu OUT=results bash tests/benchmarks/gpu.sh 120 env smoke time eval tests bench study nccl compiled
#
# The first argument is the time for all phases in seconds. Each phase has a limit of its own. A phase
# that fails, or is stopped at its limit, does not stop the next one. Results are written at once:
#
#     summary.txt     one line a phase: exit code and seconds
#     log.txt         what the phases printed
#     results.jsonl   one line a case (see tests/benchmarks/gpu)
#     bench.json      the numbers of bench_training
#
# DEVICE=cpu runs the same script in small on a machine without a GPU; tests/test_gpu_script.py does
# that. The phases of tests (tests, nccl, compiled) then only collect them.
#
# No network is needed. The machine needs torch, NumPy, SciPy, scikit-learn, filelock, Jinja2, psutil,
# rich, safetensors, tqdm, pytest and hypothesis, which images for machine learning have
# (tests/bare_image lists what the script may import), and five packages that they rarely have. Those
# are installed from the folder .whl of the repository. This fills it, for Python 3.12 on x86-64 (one
# package is published as source only):
#
#     pip wheel --no-deps -w .whl antlr4-python3-runtime==4.9.3
#     pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
#         --platform manylinux_2_17_x86_64 --platform manylinux_2_28_x86_64 -d .whl \
#         hydra-core==1.3.8 omegaconf==2.3.1 platformdirs==4.14.7 msgspec==0.22.0
#
# Polars and W&B are not needed: the data are synthetic, and nothing is tracked.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit

if [ $# -lt 2 ]; then
    echo "usage: [OUT=folder] [DEVICE=cuda|cpu] bash $0 SECONDS env|smoke|time|eval|tests|bench|study|nccl|compiled..." >&2
    exit 2
fi
end=$((SECONDS + $1))
shift
: "${OUT:=gpu-results}" "${DEVICE:=cuda}" "${PYTHON:=python3}"
mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd) || exit
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1
# Other versions of packages may warn of things that this repository knows nothing of.
export BSSCALE_TEST_WARNINGS=default PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
BSSCALE_CACHE_DIR=$(mktemp -d) && export BSSCALE_CACHE_DIR
trap 'rm -rf "$BSSCALE_CACHE_DIR"' EXIT

log() { tee -a "$OUT/log.txt"; }

if compgen -G '.whl/*.whl' >/dev/null; then
    # Into site-packages, where processes find them whatever their PYTHONPATH is.
    $PYTHON -m pip install --quiet --no-index --no-deps .whl/*.whl 2>&1 | log
fi

# phase NAME SECONDS COMMAND...
phase() {
    local name=$1 limit=$2 left=$((end - SECONDS)) started=$SECONDS code
    shift 2
    if [ "$left" -lt 10 ]; then
        echo "$name: left out, $left s were left" | tee -a "$OUT/summary.txt"
        return
    fi
    [ "$limit" -gt "$left" ] && limit=$left
    echo "=== $name: at most $limit s" | log
    timeout -k 10 "$limit" "$@" 2>&1 | log
    code=${PIPESTATUS[0]}
    echo "$name: exit code $code, $((SECONDS - started)) s" | tee -a "$OUT/summary.txt"
}

measured() {
    phase "$1" "$2" $PYTHON -m tests.benchmarks.gpu "$1" --device "$DEVICE" --json "$OUT/results.jsonl"
}

# tested NAME SECONDS KEYWORDS [OPTION...]
tested() {
    phase "$1" "$2" $PYTHON -m pytest tests/test_cuda.py -o addopts= -o filterwarnings=default \
        -p no:cacheprovider -m gpu -q -ra --durations=5 -k "$3" "${@:4}"
}

collected=() bench=(--rounds 3 --only eager,bsscale)
if [ "$DEVICE" = cpu ]; then
    collected=(--collect-only)
    bench=(--rounds 1 --only "bsscale R=1" --micro-batches 512)
fi

for name in "$@"; do
    case $name in
        env) phase env 40 $PYTHON -m tests.benchmarks.gpu.environment ;;
        smoke) measured smoke 80 ;;
        time) measured time 100 ;;
        eval) measured eval 40 ;;
        study) measured study 90 ;;
        tests) tested tests 90 "layers or bf16_trains" "${collected[@]}" ;;
        compiled) tested compiled 130 "compiled and (mlp or small)" -x "${collected[@]}" ;;
        nccl) tested nccl 120 "nccl and fp32" "${collected[@]}" ;;
        bench)
            phase bench 80 $PYTHON -m tests.benchmarks.bench_training --device "$DEVICE" \
                --startup-rounds 0 "${bench[@]}" --json "$OUT/bench.json"
            ;;
        *) echo "$name: there is no such phase" | tee -a "$OUT/summary.txt" ;;
    esac
done
echo "=== summary" && cat "$OUT/summary.txt"
