"""`babelguard verify` of the packaged 0.5B model, in this process and served by llama.cpp; minutes."""

from __future__ import annotations

import engines
import pytest
import real
from calls import succeed

from babelguard.export.llama_cpp import converter
from babelguard.models.packaged import PACKAGED

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PACKAGED[real.MODEL].folder().is_dir(), reason="the model is not converted"),
]
LANGUAGES = "en,zh,ko"


def test_the_packaged_model(tmp_path):
    prompt = real.save_written(tmp_path / "prompt")
    succeed("export", prompt, "--to", "checkpoint", "--output", tmp_path / "out")
    shown = succeed("verify", tmp_path / "out", "--languages", LANGUAGES)
    print(shown)
    assert "failed" not in shown
    with engines.transformers_serve(tmp_path / "out") as url:
        print(shown := succeed("verify", tmp_path / "out", "--url", url, "--languages", "en,ko"))
    assert "failed" not in shown


@pytest.mark.parametrize("quantisation", [None, "q8_0"])
def test_the_packaged_model_with_llama_cpp(tmp_path, quantisation):
    pytest.importorskip("xllamacpp")
    if not converter.folder().is_dir():
        pytest.skip("the converter is not installed")
    prompt = real.save_written(tmp_path / "prompt")
    more = ("--option", f"quantisation={quantisation}") if quantisation else ()
    succeed("export", prompt, "--to", "gguf", "--output", tmp_path / "out", *more)
    with engines.llama_cpp(next((tmp_path / "out").glob("*.gguf")), context=2048) as url:
        print(shown := succeed("verify", tmp_path / "out", "--url", url, "--languages", LANGUAGES))
    assert "failed" not in shown
