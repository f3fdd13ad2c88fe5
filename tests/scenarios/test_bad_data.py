"""What can be wrong with data and partition: one clear line, exit code 2, no run folder."""

import wave
from pathlib import Path

import numpy as np
import pytest
from shipped import ROOT
from typer.testing import CliRunner

from netsim.app.commands.cli import app

TINY = (
    "data.surrogate_clips=24",
    "data.audio_shape=[16, 12]",
    "data.image_size=16",
    "learner.networks={}",
    "jobs.executor.name=inline",
)


@pytest.fixture
def complain(tmp_path, cache, monkeypatch):
    """Runs two_devices.yaml, changed; returns what it complained of."""
    monkeypatch.delenv("CREMA_D_ROOT", raising=False)

    def run(*settings: str) -> str:
        words = [
            "run",
            f"{ROOT}/scenarios/two_devices.yaml",
            "--runs",
            str(tmp_path / "runs"),
            "--cache",
            str(cache),
        ]
        for setting in (*TINY, *settings):
            words += ["--set", setting]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output
        assert not (tmp_path / "runs").exists()
        assert len(result.stderr.strip().splitlines()) == 1, result.stderr
        return result.stderr

    return run


def test_a_modality_nobody_owns(complain):
    assert "'visual'" in complain('partition.modalities=[["audio"], ["audio"]]')


def test_more_devices_than_samples(complain):
    text = complain("devices.count=40", "topology.placement={name: disc}")
    assert "partition" in text and "40" in text


def test_a_network_for_a_modality_that_is_not_there(complain):
    assert "the data has no modality 'video'" in complain("learner.networks.video=mlp")


def test_a_root_that_is_not_there(complain, tmp_path):
    assert f"{tmp_path}/nowhere is not a folder" in complain(f"data.root={tmp_path}/nowhere")


def test_a_root_that_is_not_crema_d(complain, tmp_path):
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.jpg").write_bytes(b"")
    text = complain(f"data.root={tmp_path}/holiday")
    assert "AudioWAV" in text and "CREMA_D_ROOT" in text


@pytest.fixture
def broken_root(tmp_path):
    """A folder in CREMA-D's layout of 24 clips, one of whose sounds is no sound."""
    from PIL import Image

    root = tmp_path / "crema"
    (root / "AudioWAV").mkdir(parents=True)
    (root / "Frames").mkdir()
    rng = np.random.default_rng(0)
    emotions = ["ANG", "DIS", "FEA", "HAP", "NEU", "SAD"]
    for k in range(24):
        name = f"{1001 + k // 6}_DFA_{emotions[k % 6]}_XX"
        with wave.open(str(root / "AudioWAV" / f"{name}.wav"), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(16_000)
            sound.writeframes(rng.integers(-3000, 3000, 16_000, dtype=np.int16).tobytes())
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(
            root / "Frames" / f"{name}.jpg"
        )
    (root / "AudioWAV" / "1002_DFA_FEA_XX.wav").write_bytes(b"RIFF no sound")
    return root


def test_a_broken_wav_is_named(complain, broken_root):
    assert "1002_DFA_FEA_XX.wav" in complain(f"data.root={broken_root}")


def test_a_broken_wav_is_skipped_only_when_told(broken_root, run_scenario):
    folder = run_scenario(
        "two_devices", *TINY, f"data.root={broken_root}", "data.skip_broken=true", "rounds=1"
    )
    assert Path(folder / "summary.json").is_file()


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    words = [
        "run",
        f"{ROOT}/scenarios/two_devices.yaml",
        "--cache",
        str(tmp_path / "file" / "cache"),
        "--runs",
        str(tmp_path),
    ]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2 and "--cache names the folder" in result.stderr
