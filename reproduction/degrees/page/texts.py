"""What the page says between its tables."""

TEXT = {
    "head": """# Memories compared on NanoStream

Written by a script from results; no figure is typed.

    {command}

All memories of the registry on one engine, one model and one protocol: hermes-nano (1.9 M
parameters, trained on at most 64 frames of 4 tokens), multiple choice, edition 2 of the
questions, test split, fp32 on the CPU, one frame per second unless said otherwise. 4x are
streams of 256 s, 16x of 1,024 s, four and sixteen times what the model was trained on. Budgets
are visual tokens per layer: 128, 64 and 32 are the last 32, 16 and 8 seconds. The four degrees
of the world (clean, noisy, busy, rich) are those of `video_qa/nanostream/degrees.py`.

Streams: {streams}. Files that pandas reads: `comparison/accuracies.csv`,
`comparison/differences.csv`, `comparison/costs.json`. Intervals are 95 %, clustered by video
(`eval/intervals.py`). One training seed.

![accuracy over all questions against the budget](comparison/all_questions.svg)
""",
    "verdict": """## Verdict

Who answers most questions right, and who cannot be told apart from that memory: all that no
other memory beats in a sign-flip test over videos, with the maximum over all memories as its
statistic, which corrects for how many there are and for picking the best by looking
({percent:g} %, one-sided; `eval/ranking/best.py`). "Told apart" counts those that are beaten.
The floors (black frames, the last frame alone) are not ranked. "never (balanced)" is the mean
of questions about what never was and look-alikes that have an answer; it is not part of "all".
""",
    "lead": """## {ours} against the best other memory

Points over all questions, and a lower bound that holds for all other memories at once (95 %;
`eval/ranking/lower_bounds.py`): a bound above 0 means ahead of every other memory.
""",
    "costs": """## What each memory costs

Measured alone on one stream, all memories in turns in one session of {rounds} rounds, so that what
the machine does meanwhile hits all alike ({measured_at}; {machine}; {cpu_percent:.0f} % of a core
for one thread; {frames} frames, {questions} questions, chunks end where a question is due). Times
are medians over rounds, with the fastest and the slowest round in brackets. Ingest is a frame's way
through the vision tower ({vision:.1f} ms of it; the comparisons themselves encode each frame once
for all memories), the layers of the decoder that it passes then, and compression. Device bytes are
what is allocated, with room for a chunk and for a question. "Works when asked": reads frames or
searches before it answers.
""",
    "costs_beside_work": """**Other work had the core for {percent:.0f} % of the session.**
What passes faster than a round is not taken out: medians may differ without a reason. Compare the
fastest rounds.
""",
    "dialogue": """## What dialogue does to each memory

Share of answers in % that are not those of the same question asked in order: with other questions
in the places of those before it, and asked alone, where no chunk of frames ends before its time
either ({size}; 95 % intervals over streams; `docs/robustness.md`). File:
`comparison/robustness.json`. Streams: {streams}.
""",
    "dialogue_streams": """those of one folder, so of one degree alone, not all that the rest
of this page is about; the file does not say which (`docs/robustness.md` does of its own)""",
    "no_dialogue": """## What dialogue does to each memory

Not part of this page. To measure how many answers other questions change, and to have them here:

    python video_qa/robustness.py --model nano --dataset nanostream --sample_fps 1 --device cpu \\
        --anno_path data/degrees/FOLDER/nanostream_test.json --kv_sizes {kv_size} \\
        --results_root results/dialogue --policies {policies}

Then add to the command above:

    --robustness results/dialogue/nano/nanostream/robustness-fps1/robustness.json
""",
    "tables": """## By degree

Accuracy in %, 95 % interval; bold: the best, and all that cannot be told apart from it.

![far past against recent past](comparison/far_against_recent.svg)
""",
    "rates": """## Other sampling rates

All questions at a quarter of the trained length's tokens. At 0.5 frames per second a question
about the present may come a second after the frame seen last.
""",
    "variants": """## Settings of {title}: both profiles, lazy and eager

{kv_size} tokens, {fps} fps. `none` keeps everything, at positions the model has never seen.
""",
    "trade": """## Settings of {title}: recent against far past

{kv_size} tokens, {fps} fps. `recent_share` is 0.25 by default; the row with `attention_weight=1` is
what `two_speed` was planned to be, the past by guidance attention with floors.
""",
    "limits": """## What it does not say

* A miniature is no substitute for StreamingBench or OVO-Bench. Its frames have four tokens, a
  7B model's 196; what needs whole frames costs less here than there.
* `streaming_llm` keeps its first four visual tokens, which here are the whole first frame; two
  of the four far-past tasks ask what appeared first.
* `two_speed` and `confirmed_novelty` were tuned on the training split of this world, the others
  have their papers' constants.
* Times are those of a small model on a CPU: for their order only.

The same on StreamingBench and OVO-Bench, which nobody has run for these tables
(`docs/reproducing.md`):

    python scripts/reproduce.py --table memories --dry_run
""",
}
