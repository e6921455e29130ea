"""The trainer's parts: prompts as the engine builds them, packed questions = separate questions."""

import itertools
import random

import numpy as np
import pytest
import torch

from inference import load_model
from inference.answers import prompts
from inference.answers.multiple_choice import format_mcqa_prompt
from inference.vision.frames import pixels
from nano_training import checkpoint, decoder_run, texts
from nano_training.decoder import HINT_LAYERS, IGNORE, hidden_states, losses
from nano_training.packing import batches, packs
from nano_training.packing.lookup import looked_up
from nano_training.packing.packs import TASK_NAMES, PackMaker
from nano_training.packing.syllabus import SYLLABI, syllabus_at
from nano_training.sight import charts, contents, eyes
from nano_training.sight.bank import draw_tokens
from nano_training.tokenizer import train_tokenizer
from scripts import train_nano
from video_qa.nanostream.degrees import DEGREES
from video_qa.nanostream.facts import follow
from video_qa.nanostream.questions import TASKS
from video_qa.nanostream.vocabulary import CHANGES, COLOURS, COUNTS, NEVER, PLACES, SHAPES, YES_NO
from video_qa.nanostream.world import make_world


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(0)


@pytest.fixture(scope="module")
def model(tokenizer):
    return checkpoint.make_model(tokenizer, 0).eval()


def test_prompts_are_the_engines():
    body = format_mcqa_prompt("Where is it?", ("here", "there"))
    assert texts.choice_prompt("Where is it?", ["here", "there"]) == prompts.get_prompt(
        body, mc=True
    )
    assert texts.word_prompt("Where is it?") == prompts.get_prompt("Where is it?", mc=False)
    assert {texts.LOCAL_GUIDANCE, texts.GLOBAL_GUIDANCE} == {prompts.LOCAL, prompts.GLOBAL}


def test_every_answer_word_is_one_token(tokenizer):
    words = (*CHANGES, *COLOURS, *COUNTS, NEVER, *PLACES, *SHAPES, *YES_NO)
    for word in words:
        assert len(tokenizer(f" {word}").input_ids) == 1, word
    assert len(tokenizer("A)").input_ids) == 1


def test_any_text_survives_the_tokenizer(tokenizer):
    text = "Ein ganz anderer Satz, mit Umlauten: äöü? \n(1) 東京"
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_size_and_frame_tokens(model):
    assert sum(p.numel() for p in model.parameters()) <= 5_000_000
    tokens = eyes.see(model, torch.zeros(3, 3, 56, 56))
    assert tokens.shape == (3, checkpoint.TOKENS_PER_FRAME, checkpoint.TEXT_WIDTH)


def test_the_longest_question_fits_the_positions(tokenizer):
    maker = PackMaker(tokenizer)
    stream = len(maker.prefix) + checkpoint.TRAINED_FRAMES * checkpoint.TOKENS_PER_FRAME
    batch = maker.make_batch(3, checkpoint.TRAINED_FRAMES, 20)
    assert stream + batch.offset.max() < checkpoint.MAX_POSITIONS


def _bank(variants):
    size = (len(DEGREES), 4, contents.NUM_CONTENTS, variants, checkpoint.TEXT_WIDTH)
    return torch.randn(size) * 0.26


@torch.no_grad()
def test_a_pack_equals_its_questions_asked_one_by_one(model, tokenizer):
    """The oracle is transformers' own forward on `[prefix, frames so far, question]`."""
    batch = PackMaker(tokenizer, room=120).make_batch(5, 12, 2)
    visual = draw_tokens(_bank(3), batch.degree, batch.contents, torch.Generator().manual_seed(0))
    language_model = model.model.language_model
    packed, early = hidden_states(language_model, visual, batch)
    embed, checked = language_model.embed_tokens, 0
    for row in range(2):
        for number in batch.segment[row][batch.targets[row] != IGNORE].unique():
            mine = batch.segment[row] == number
            frames = int(batch.visible[row][mine][0]) - batch.prefix_ids.shape[1]
            parts = (
                embed(batch.prefix_ids[0]),
                visual[row, :frames],
                embed(batch.region_ids[row][mine]),
            )
            alone = language_model(inputs_embeds=torch.cat(parts)[None], output_hidden_states=True)
            length = int(mine.sum())
            wanted = alone.last_hidden_state[0, -length:]
            assert torch.allclose(packed[row][mine], wanted, atol=2e-4)
            wanted = language_model.norm(alone.hidden_states[HINT_LAYERS][0, -length:])
            assert torch.allclose(early[row][mine], wanted, atol=2e-4)
            checked += 1
    assert checked > 6


def test_every_degree_and_rate_sees_its_own_frames(tokenizer):
    """What a pack shows is what the stream holds at the seconds of its frames."""
    for degree in DEGREES:
        for rate in (0.5, 1.0, 2.0):
            maker = PackMaker(tokenizer)
            maker.degree_shares, maker.rate_shares = {degree: 1.0}, {rate: 1.0}
            number, shown, pack = maker.make_pack(random.Random(7), 12)
            rng = random.Random(7)
            packs.draw_from({degree: 1.0}, rng), packs.draw_from({rate: 1.0}, rng)
            world = make_world(rng.getrandbits(48), round(12 / rate), degree)
            assert number == degree
            for frame, found in enumerate(shown):
                wanted = contents.contents_at(world, round(frame / rate * 2))
                assert found == wanted
                at_rest = (frame / rate).is_integer() and not world.unseen(int(frame / rate))
                if at_rest and not world.marks:
                    assert found == contents.contents(world.states[int(frame / rate)])
            told = [v for v, t in zip(pack.visible, pack.targets, strict=True) if t != IGNORE]
            assert {(v - len(maker.prefix)) % 4 for v in told} == {0}
            assert max(told) <= len(maker.prefix) + 4 * 12


def test_batches_made_ahead_are_those_made_when_asked_for(tokenizer):
    def order_of(number):
        return batches.Order(100 + number, 12, 2, number / 3)

    with batches.batches(PackMaker(tokenizer), 0, 0, 1, order_of) as here:
        alone = [here() for _ in range(3)]
    with batches.batches(PackMaker(tokenizer), 0, 1, 1, order_of) as there:
        ahead = [there() for _ in range(3)]
    for one, other in zip(alone, ahead, strict=True):
        for name, column in vars(one).items():
            assert torch.equal(column, vars(other)[name]), name


def test_a_chart_tells_the_look_of_every_thing():
    chart = charts.make_chart(3, "rich")
    thing = chart.contents < contents.NOTHING
    assert torch.equal(chart.patterns != charts.UNTOLD, thing)
    assert torch.equal(chart.accents != charts.UNTOLD, thing)
    plain = thing & (chart.patterns == 0)
    assert torch.equal(plain, thing & (chart.accents == charts.NO_ACCENT)) and plain.any()
    two_coloured = thing & ~plain
    assert (chart.accents != chart.contents % 8)[two_coloured].all() and two_coloured.any()
    assert (charts.make_chart(3, "busy").contents > contents.NOTHING).any()


def test_a_batch_is_a_function_of_its_seed(tokenizer):
    one, two = (PackMaker(tokenizer).make_batch(9, 24, 3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(vars(one).values(), vars(two).values()))  # noqa: B905
    other = PackMaker(tokenizer).make_batch(10, 24, 3)
    assert not torch.equal(one.region_ids, other.region_ids)


def questions_of(batch, tokenizer):
    """(task, text, hint words, sets named, whether at the right place) of every question."""
    for row in range(len(batch.segment)):
        for number in batch.segment[row][batch.targets[row] != IGNORE].unique():
            mine = batch.segment[row] == number
            hints = [tokenizer.decode([i]) for i in batch.hints[row][mine] if i != IGNORE]
            text = tokenizer.decode(batch.region_ids[row][mine])
            task = TASK_NAMES[int(batch.task[row][mine][0])]
            of_row = (batch.set_rows == row).nonzero().flatten()
            numbers = [int(n) for n in of_row if mine[batch.set_columns[n]]]
            asked = batch.hints if task.endswith("choice") else batch.targets
            end = int((mine & (asked[row] != IGNORE)).nonzero()[0])
            placed = all(batch.set_columns[n] == end for n in numbers)
            yield task, text, hints, [batch.sets[n] for n in numbers], placed


def test_where_options_begin_the_answer_word_is_hinted(tokenizer):
    batch = PackMaker(tokenizer).make_batch(11, 64, 8)
    seen, counted = 0, set()
    for task, text, hints, sets, placed in questions_of(batch, tokenizer):
        if task.endswith("choice"):
            letter = text[text.index("Best option: (") + len("Best option: (")]
            assert f"\n({letter}){hints[0]}\n" in text and len(hints) == 1
            seen += 1
        else:
            assert not hints
        if task != "guidance":
            named = task.startswith(("count", "far_colour", "far_ever", "recent", "unanswerable"))
            assert placed and len(sets) == named
        if task == "count_colours words":
            counted.add(int(sets[0].sum()))
            assert f" {int(sets[0].sum())}" == text[-2:]
    assert seen > 20 and len(counted) > 1
    hinted = batch.region_ids[batch.hints != IGNORE]
    assert set(hinted.tolist()) == set(tokenizer("?\nOptions:").input_ids)


def test_what_is_looked_up_answers_the_question():
    """Colours counted, former colour and previous scene follow from the set alone."""
    checked = set()
    for seed in range(6):
        rng = random.Random(seed)
        for facts in follow(make_world(seed, 64)):
            for name, task in TASKS.items():
                draft = task(facts, rng)
                found = draft and looked_up(name, facts, draft.question)
                if found is None:
                    continue
                colours = {colour for _, colour in found}
                if name == "count_colours":
                    assert str(len(colours)) == draft.answer
                elif name == "far_ever":
                    asked = tuple(reversed(draft.question.rstrip("?").split()[-2:]))
                    assert (asked in found) == (draft.answer == "yes")
                elif name in ("recent_shape", "recent_colour", "far_colour"):
                    assert draft.answer in {word for pair in found for word in pair}
                elif name == "recent_former_colour":
                    assert draft.answer in colours
                elif name == "unanswerable":
                    assert not found
                else:
                    continue
                checked.add(name)
    assert len(checked) == 7


def test_text_only_packs_have_neither_hints_nor_sets(model, tokenizer):
    batch = PackMaker(tokenizer).make_batch(2, 0, 2)
    hidden = torch.zeros(*batch.hints.shape, checkpoint.TEXT_WIDTH)
    head = torch.nn.Linear(checkpoint.TEXT_WIDTH, contents.NOTHING)
    parts = losses(model, head, hidden, hidden, batch)
    assert parts.hints == 0 and parts.sets == 0 and parts.words > 0


def test_syllabi_follow_the_progress_and_name_tasks():
    starts = {0.0: 0.0, 0.69: 0.0, 0.7: 0.7, 0.79: 0.7, 0.8: 0.8, 1.0: 0.8}
    for progress, start in starts.items():
        assert syllabus_at(progress) is SYLLABI[start]
    for syllabus in SYLLABI.values():
        assert set(syllabus.weights) <= set(TASKS)
    rng = random.Random(0)
    drawn = [SYLLABI[0.8].draw(rng) for _ in range(2000)]
    assert set(drawn) == set(TASKS)
    assert drawn.count("recent_shape") > 3 * drawn.count("count_colours")  # 40 to 6


def test_guidance_answers_name_what_is_there():
    facts = list(follow(make_world(4, 30)))[-1]
    described = texts.describe(facts).split()
    assert len(described) == 3 * len(facts.visible)
    assert texts.summarise(facts).split()[1::2] == sorted(
        facts.first_seen, key=facts.first_seen.get
    )


def test_letters_point_at_the_answer():
    facts, rng = list(follow(make_world(4, 30)))[-1], random.Random(0)
    for task in TASKS.values():
        draft = task(facts, rng)
        if draft:
            prompt, answer = texts.ask(draft, rng, choice=True)
            assert f"\n({answer[0]}) {draft.answer}\n" in prompt


def test_contents_and_mosaic_keep_quadrants_with_their_labels():
    pixels = torch.arange(6 * 4).view(6, 1, 4).expand(6, 3, 4).reshape(6, 3, 2, 1, 2, 1).float()
    pixels = pixels.expand(6, 3, 2, 28, 2, 28).reshape(6, 3, 56, 56)
    labels = torch.arange(24).view(6, 4)
    chart = charts.Chart(pixels, labels, labels + 100, labels + 200)
    mixed = eyes._mosaic(chart, torch.Generator().manual_seed(1))
    corners = mixed.pixels[:, 0, ::28, ::28].reshape(6, 4).long()
    assert torch.equal(corners, mixed.contents) and not torch.equal(mixed.contents, labels)
    assert torch.equal(mixed.patterns, corners + 100)
    assert torch.equal(mixed.accents, corners + 200)


@torch.no_grad()
def test_the_engine_loads_it_and_sees_the_same_tokens(tmp_path, tokenizer, model):
    checkpoint.save(model, tokenizer, tmp_path)
    engine, processor = load_model(tmp_path, kv_size=64, device="cpu", policy="none")
    assert (
        processor.tokenizer(texts.INIT_PROMPT).input_ids == tokenizer(texts.INIT_PROMPT).input_ids
    )
    frames = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), np.uint8)
    side = (checkpoint.IMAGE_SIZE, checkpoint.IMAGE_SIZE)
    theirs = pixels(torch.from_numpy(frames), side, processor.pixels, torch.device("cpu"))
    assert torch.equal(theirs, charts.to_pixels(frames)) and processor.pixels.size == side
    engine.clear_cache()
    engine.encode_init_prompt()
    engine.encode_video_chunk(frames)
    engine.predict_and_compress()
    question = {"question": "Where is it?", "prompt": engine.get_prompt("Where is it?")}
    assert isinstance(engine.question_answering(question, max_new_tokens=3), str)


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    """`run(minutes)` with tiny stages and a clock on which every step takes one second."""
    clock = itertools.count()
    monkeypatch.setattr(decoder_run.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(decoder_run, "STAGES", ((0.5, 0, 2), (1.0, 4, 2)))
    monkeypatch.setattr(decoder_run.checkpoint, "TRAINED_FRAMES", 12)

    def fake_eyes(model, args):
        return _bank(2)

    monkeypatch.setattr(train_nano, "get_eyes", fake_eyes)
    common = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"), "--threads", "1"]
    common += ["--evaluation_streams", "1"]
    return lambda seconds: train_nano.main(["--minutes", str(seconds / 60), *common])


def test_training_resumes(trainer, tmp_path, capsys):
    assert trainer(2) == 0
    assert not list((tmp_path / "work").glob("*.part"))
    assert trainer(4) == 0
    assert "continuing at step 2" in capsys.readouterr().out
    assert torch.load(tmp_path / "work" / "decoder.pt", weights_only=True)["step"] == 4
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_a_damaged_checkpoint_is_named(trainer, tmp_path, capsys):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "decoder.pt").write_bytes(b"half a file")
    assert trainer(2) == 2
    assert "decoder.pt is damaged" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_another_model_is_named(trainer, tmp_path, capsys):
    assert trainer(2) == 0
    path = tmp_path / "work" / "decoder.pt"
    saved = torch.load(path, weights_only=True)
    saved["model"]["embed_tokens.weight"] = saved["model"]["embed_tokens.weight"][:-3]
    torch.save(saved, path)
    assert trainer(4) == 2
    assert "belongs to another model; delete it" in capsys.readouterr().err


def test_cuda_without_a_device_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert train_nano.main(["--device", "cuda"]) == 2
    assert "--device cpu" in capsys.readouterr().err
