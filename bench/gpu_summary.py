# SPDX-License-Identifier: Apache-2.0
"""The short table of bench/gpu.sh, from the rows it collected: python bench/gpu_summary.py gpu.ndjson"""
import json
import sys


def rows_of(path):
    rows = []
    for line in open(path):
        try:
            rows.append(json.loads(line))
        except ValueError:
            pass
    return rows


def main():
    rows = rows_of(sys.argv[1])
    find = lambda **want: next((r for r in rows if all(r.get(k) == v for k, v in want.items()) and "error" not in r), None)
    peaks = next((r for r in rows if "copy_gbytes_per_s" in r), None)
    gemm, copy = (peaks["peak_gflops_bf16"] * 1e9, peaks["copy_gbytes_per_s"] * 1e9) if peaks else (None, None)
    print(f"{'op':<34}{'shape':<40}{'ms':>9}{'of gemm':>9}{'of copy':>9}")
    few, library = "skinny, own kernel", "skinny, cuBLASLt"
    own = {r["shape"] for r in rows if r.get("op") == few}
    for r in rows:
        if "op" not in r or (r["op"] == library and r.get("shape") in own):
            continue
        share = lambda key: f"{r[key]:.2f}" if key in r else ""
        print(f"{r['op']:<34}{r.get('shape', ''):<40}{r.get('ms', float('nan')):>9.4f}{share('share_of_gemm_peak'):>9}{share('share_of_copy'):>9}" if "ms" in r else f"{r['op']:<34}{r['error'][:90]}", end="")
        beside = find(op=library, shape=r.get("shape")) if r["op"] == few else None
        print(f"   cuBLASLt {beside['ms']:.4f}, x{beside['ms'] / r['ms']:.2f}" if beside else "")
    profiled(rows)
    print(f"measured: bf16 product {gemm / 1e12:.0f} TFLOP/s, copy {copy / 1e9:.0f} GB/s" if peaks else "measured: no rates (the op bench gave none)")
    for phase in (r for r in rows if "phase" in r):
        print(f"{phase['phase']:<12} {'ok' if phase['rc'] == 0 else 'FAILED (' + str(phase['rc']) + ')'} in {phase['seconds']} s {phase.get('note', '')}")
    print(f"{'engine':<26}{'seconds':>11}{'of floor':>10}{'GPU GiB':>9}{'transformers':>14}{'ratio':>7}{'GPU GiB':>9}")
    gib = lambda r: f"{r['gpu_mebibytes'] / 1024:>9.1f}" if r and r.get("gpu_mebibytes") else " " * 9
    rates = {"vpref": {}, "transformers": {}}
    for r in rows:
        if r.get("engine") not in ("vpref", "transformers") or r.get("device") not in ("cuda", "cpu") or "task" not in r:
            continue
        name = f"{r['shape']} {r['task']}"
        if "error" in r:
            print(f"{name:<26}{r['engine']} failed: {r['error'][:160]}")
            continue
        seconds = r.get("seconds", r.get("seconds_per_pair"))
        if r["engine"] == "transformers":
            rates["transformers"][r["shape"], r["task"]] = seconds
            continue
        rates["vpref"][r["shape"], r["task"]] = seconds
        floor = max(r.get("floor_flops", 0) / gemm, r.get("floor_bytes", 0) / copy) if peaks else 0
        other = find(engine="transformers", task=r["task"], shape=r["shape"]) or (find(engine="transformers", task="decode64", shape=r["shape"]) if r["task"] == "group64" else None)
        theirs = other and other.get("seconds", other.get("seconds_per_pair"))
        ratio = f"{theirs:>14.5f}{theirs / seconds:>7.2f}" if theirs else " " * 21
        print(f"{name:<26}{seconds:>11.5f}{floor / seconds:>10.2f}{gib(r)}{ratio}{gib(other)}{host(r)}")
        if r["task"].startswith("dpo"):
            print(f"  {1000 * seconds:.0f} s per 1000 pairs, reference {1000 * r['reference_seconds_per_pair']:.0f} s of it, {r['floor_flops'] / seconds / 1e12:.0f} TFLOP/s "
                  f"({100 * r['floor_flops'] / seconds / 989e12:.0f} % of 989); {r.get('plan', '')}")
            if other:
                print(f"  transformers + peft: {1000 * theirs:.0f} s per 1000 pairs, micro-batches of {other.get('micro_batch')}, gradient checkpointing {'on' if other.get('checkpointing') else 'off'}")
    for engine, measured in rates.items():
        seva(engine, measured, "7b")


def host(r):
    """A decoding step's processor time, of all threads: what it takes beyond the GPU's time is launches and waiting."""
    return f"  host {1e3 * r['cpu_seconds']:.2f} ms a step" if "cpu_seconds" in r and "timed" in r else ""


def profiled(rows, most=10):
    for task in dict.fromkeys(r["profile"] for r in rows if "profile" in r):
        found = [r for r in rows if r.get("profile") == task]
        failed = next((r["error"] for r in found if "error" in r), None)
        if failed:
            print(f"profile of {task} failed: {failed[-160:]}")
            continue
        print(f"{'profile of ' + task:<60}{'launches':>9}{'ms':>9}{'share':>7}{'GB/s':>7}   in all {sum(r['ms'] for r in found):.3f} ms, {sum(r['launches'] for r in found)} launches")
        for r in found[:most]:
            print(f"  {r['kernel'][:56]:<58}{r['launches']:>9}{r['ms']:>9.3f}{r['share']:>7.2f}{r['gbytes_per_s']:>7.0f}")


def seva(engine, rates, shape, prompts=16000, answer=60, batch=64):
    """Estimates SeVa's run from an engine's measured rates: a response each to the image and to the noisy one, then one epoch with the reference pass, on one card."""
    prefill, decode, dpo = (rates.get((shape, task)) for task in ("prefill", "decode64", "dpo"))
    sample = 2 * prompts * (prefill + answer * decode / batch) / 60 if prefill and decode else None
    train = prompts * dpo / 60 if dpo else None
    say = lambda minutes: f"{minutes:.0f} min" if minutes is not None else "not measured"
    whole = say(sample + train) if sample is not None and train is not None else "not measured"
    print(f"SeVa on one card with {engine}, {prompts} prompts, answers of {answer} tokens, projected from these rates: sampling {say(sample)}, training with reference {say(train)}, together {whole}")


if __name__ == "__main__":
    main()
