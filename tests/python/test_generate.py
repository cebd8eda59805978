"""Writing texts: stopping, sampling, batches, interruptions."""

import signal
import threading
import time

import numpy as np
import pytest

import gemloupe as gl
from conftest import bits

PROMPTS = [[2, 10, 20], [2, 33], [2, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50]]
SAMPLED = dict(temperature=1.3, top_k=40, top_p=0.95, min_p=0.01, repetition_penalty=1.1)


def tokens(model, prompts=PROMPTS, **options):
    options = {"max_tokens": 9, "stop_ids": [], **options}
    return [g.tokens for g in model.generate(prompts, details=True, **options)]


def test_greedy_is_the_largest_logit(model):
    written = tokens(model, prompt_arithmetic="exact")[0]
    context = list(PROMPTS[0])
    for token in written:
        assert token == int(np.argmax(model.run(context, logits="last").logits))
        context.append(token)


def test_the_same_seed_gives_the_same_text_whatever_else_runs(model):
    alone = [tokens(model, [p], seed=4, **SAMPLED)[0] for p in PROMPTS]
    assert tokens(model, seed=4, **SAMPLED) == alone
    assert tokens(model, PROMPTS[::-1], seed=4, together=2, **SAMPLED) == alone[::-1]
    assert tokens(model, seed=5, **SAMPLED) != alone


def test_more_prompts_than_one_wave(gemma3):
    many = [[2, 3 + i] for i in range(70)]
    assert tokens(gemma3, many, max_tokens=2)[69] == tokens(gemma3, many[69:], max_tokens=2)[0]


def test_stop_ids_end_a_text_and_are_no_part_of_it(gemma3):
    plain = tokens(gemma3, PROMPTS[:1], max_tokens=6)[0]
    ended = gemma3.generate(PROMPTS[:1], max_tokens=6, stop_ids=[plain[3]], details=True)[0]
    assert ended.finish == "stop_id" and ended.tokens == plain[:plain.index(plain[3])]


def test_the_models_own_end_is_a_stop(gemma3):
    end = gemma3.ends[0]
    found = gemma3.generate([[2, 10]], max_tokens=5, logit_bias={end: 1e4}, details=True)[0]
    assert (found.finish, found.tokens) == ("stop_id", [])


def test_suppressed_ids_never_come(gemma3):
    best = tokens(gemma3, PROMPTS[:1], max_tokens=1)[0][0]
    assert best not in tokens(gemma3, PROMPTS[:1], max_tokens=9, suppress=[best])[0]


def test_logit_bias_moves_the_choice(gemma3):
    assert tokens(gemma3, PROMPTS[:1], max_tokens=4, logit_bias={77: 1e4})[0] == [77] * 4


def test_repetition_penalty_ends_repetition(gemma3):
    best = tokens(gemma3, [[2, 10]], max_tokens=1, logit_bias={77: 30.0})[0]
    assert best == [77]
    strong = tokens(gemma3, [[2, 10]], max_tokens=6, repetition_penalty=1e6, logit_bias={})[0]
    assert len(set(strong)) == 6


def test_top_k_of_one_is_greedy(gemma3):
    assert tokens(gemma3, temperature=2.0, top_k=1, seed=9) == tokens(gemma3)


def test_max_tokens_and_the_context(gemma3):
    assert tokens(gemma3, [[2]], max_tokens=0) == [[]]
    session = gemma3.session(context=6)
    found = session.generate([2, 3, 4], max_tokens=50, stop_ids=[])
    assert found.finish == "context" and session.position == 6


def test_streams_are_what_generate_gives(gemma3):
    stream = gemma3.stream(PROMPTS[2], max_tokens=9, stop_ids=[], seed=4, **SAMPLED)
    list(stream)
    assert stream.tokens == tokens(gemma3, PROMPTS[2:], seed=4, **SAMPLED)[0] and stream.finish == "length"


def test_sessions_go_on_where_they_are(gemma3):
    session = gemma3.session()
    session.feed(PROMPTS[2][:5])
    found = session.generate(PROMPTS[2][5:], max_tokens=9, stop_ids=[])
    assert found.tokens == tokens(gemma3, PROMPTS[2:])[0]
    more = session.generate(max_tokens=3, stop_ids=[])
    assert found.tokens + more.tokens != found.tokens and len(more.tokens) == 3


def test_stop_texts_across_token_borders(speaker):
    prompt = "1, 2, 3, 4, 5, 6,"
    pieces = list(speaker.stream(prompt, max_tokens=14))
    plain, border = "".join(pieces), len("".join(pieces[:7]))
    stop = plain[border - 1:border + 1]  # the end of one token and the beginning of the next
    ended = speaker.generate([prompt], max_tokens=14, stop=["never in it", stop], details=True)[0]
    assert ended.finish == "stop_text" and ended.text == plain[:plain.index(stop)]
    assert "".join(speaker.stream(prompt, max_tokens=14, stop=stop)) == ended.text


def test_pieces_are_whole_characters(speaker):
    options = dict(max_tokens=24, temperature=1.5, seed=3)
    pieces = list(speaker.stream("日本語: こんにちは 🙂", **options))
    assert all("�" not in piece for piece in pieces) or "�" in speaker.generate("日本語: こんにちは 🙂", **options)
    assert "".join(pieces) == speaker.generate("日本語: こんにちは 🙂", **options)


def test_one_bos_and_only_one(speaker):
    ids = speaker.tokenizer.encode("Hello", bos=True)
    assert ids.count(speaker.bos) == 1
    expected = bits(speaker.run(ids, logits="last").logits)
    assert bits(speaker.run("Hello", logits="last").logits) == expected
    assert bits(speaker.run("<bos>Hello", logits="last").logits) == expected


def slow_model(gemma3):
    """One node takes 5 ms, so that a signal surely comes in the middle."""
    def slow(x, residual):
        time.sleep(0.005)
        return x + residual
    return gemma3.replace("layers.*.mid", slow)


def interrupt_after(seconds):
    timer = threading.Timer(seconds, lambda: signal.raise_signal(signal.SIGINT) if threading.current_thread() is threading.main_thread()
                            else signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))
    timer.start()
    return timer


def test_ctrl_c_stops_at_once_and_a_stream_goes_on(gemma3):
    expected = tokens(gemma3, PROMPTS[:1], max_tokens=30)[0]
    stream = slow_model(gemma3).stream(PROMPTS[0], max_tokens=30, stop_ids=[])
    interrupt_after(0.15)
    with pytest.raises(KeyboardInterrupt):
        list(stream)
    assert stream.finish == "no" and stream.tokens == expected[:len(stream.tokens)]
    list(stream)
    assert stream.tokens == expected


def test_ctrl_c_in_a_long_call_comes_within_a_moment(gemma3):
    model = gl.random("gemma3-270m", layers=6, vocabulary=64)
    session = model.session(context=20000)
    begin = time.monotonic()
    interrupt_after(0.3)
    with pytest.raises(KeyboardInterrupt):
        session.feed([2] * 20000)
    assert time.monotonic() - begin < 5  # the whole prompt takes minutes
    read = session.position  # of whole chunks
    assert read < 20000 and read % session.chunk == 0
    assert bits(session.feed([3, 4])) == bits(model.session(context=20000).feed([2] * read + [3, 4]))


def test_an_interrupted_generate_carries_what_it_wrote(gemma3):
    interrupt_after(0.15)
    with pytest.raises(KeyboardInterrupt) as stop:
        slow_model(gemma3).generate(PROMPTS, max_tokens=60, stop_ids=[])
    assert len(stop.value.generated) == 3
    assert [g.tokens for g in stop.value.generated] == [t[:len(g.tokens)] for t, g in
                                                        zip(tokens(gemma3, max_tokens=60), stop.value.generated)]
