"""Many devices: wall time and memory.

python benchmarks/scale.py
"""

from __future__ import annotations

import argparse

from measured import run

SCENARIO = """
rounds: {rounds}
devices: {{count: {devices}}}
topology: {{links: {{name: regular, degree: 6}}}}
data: {{name: generated, samples: {samples}, test_samples: 200, shape: [57]}}
partition: iid
learner:
  name: dmml
  architecture: concat
  batch_size: 10
  learning_rate: 1e-2
  networks: {{features: {{name: mlp, hidden: [{hidden}]}}}}
evaluation: {{every: {rounds}}}
jobs: {{device: cpu, threads: 1, executor: {executor}, stacking: on}}
"""
CASES = {
    "1,000 devices, 20 rounds": {"devices": 1000, "rounds": 20, "samples": 40_000, "hidden": 64},
    "10,000 devices, 3 rounds": {"devices": 10_000, "rounds": 3, "samples": 200_000, "hidden": 16},
}


def main() -> None:
    """Print a table."""
    argparse.ArgumentParser(description="Wall time and memory of many devices.").parse_args()
    print("| case | network | executor | seconds | outside training | peak memory | transfers | accuracy |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, sizes in CASES.items():
        for executor in ("inline", "forked"):
            done = run(SCENARIO.format(executor=executor, **sizes))
            peak_gib = done.peak_gib + (done.worker_gib if executor == "forked" else 0.0)
            print(
                f"| {name} | MLP 57-{sizes['hidden']}-2, Adam | {executor} | {done.seconds:.1f} "
                f"| {100 * done.metadata['outside_training_share']:.0f} % | {peak_gib:.2f} GiB "
                f"| {sum(done.summary['transfers'].values()):,} "
                f"| {100 * done.summary['accuracy']['fused']['final']:.1f} % |",
                flush=True,
            )


if __name__ == "__main__":
    main()
