"""The demo's story, part by part; every part says whether what it promises held."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import minilm
from .exhibits import Exhibits, gather
from .home import somebody_else
from .measuring import measure_itself, record_in_pairs
from .screen import Screen, source_inside
from .silent_change import LAYER, change_silently
from .tampering import TAMPERINGS, Tampering, judge, untouched


@dataclass
class Stage:
    """What the parts hand on to each other: where things lie, and what was loaded and recorded."""

    folder: Path
    home: Path
    screen: Screen
    weights: Path
    tokenizer: Any
    model: Any
    notary: Any
    embed: Any
    texts: list[str]
    output: Any = None

    @property
    def run(self) -> Path:
        return self.folder / "run.tnr"

    @property
    def earlier(self) -> Path:
        return self.folder / "earlier.tnr"

    @property
    def signer(self) -> Path:
        return self.folder / "signer.pem"

    @property
    def receiver(self) -> Path:
        """The home of somebody who has none of our keys and logs."""
        return self.folder / "receiver"


def tell(
    folder: Path, home: Path, screen: Screen, tamperings: Iterable[Tampering] = TAMPERINGS
) -> bool:
    """The whole story; True only if every part held."""
    began = time.perf_counter()
    stage = set_up(folder, home, screen)
    held = [record(stage), save(stage), verify(stage), reproduce(stage)]
    held += [tamper(stage, tuple(tamperings)), stop_a_silent_change(stage)]
    stage.notary.close()
    close(stage, all(held), time.perf_counter() - began)
    return all(held)


def set_up(folder: Path, home: Path, screen: Screen) -> Stage:
    """Loads model and sentences, and shows the code that records."""
    texts = minilm.sentences()
    screen.heading("A real model")
    screen.say(
        f"""MiniLM-L6 turns a sentence into 384 numbers, so that sentences that mean the same lie
        close together. It is about to embed {len(texts)} of them, each call signed and logged.
        This is all the code it takes. Everything is written to {folder}, keys included; your own
        keys and logs stay untouched."""
    )
    screen.show(source_inside(minilm.recorder))
    weights = minilm.model_folder()
    tokenizer, model = minilm.load(weights)
    notary, embed = minilm.recorder(folder / "log", tokenizer, model)
    return Stage(
        folder, home, screen, weights / "model.safetensors", tokenizer, model, notary, embed, texts
    )


def record(stage: Stage) -> bool:
    """Records every batch, next to the same batch unrecorded."""
    screen, batches = stage.screen, minilm.batches(stage.texts)
    screen.heading("Record")
    stage.embed.__wrapped__(batches[0])
    stage.embed(batches[0])
    stage.notary.last.save(stage.earlier)
    cost, stage.output = record_in_pairs(
        stage.embed, screen.track(batches, "recording, in batches of 16")
    )
    stage.notary.flush()
    recorded = stage.notary.stats()["recorded"]
    measure_itself(cost, stage.notary, stage.model, batches[-1], stage.output)
    low, high = cost.middle_half
    screen.say(
        f"""{len(stage.texts)} sentences in {cost.pairs} batches, every batch run twice, recorded
        and not, in turns. Recorded ÷ unrecorded: {cost.ratio:.3f}, the median of {cost.pairs}
        pairs; half of them lie between {low:.3f} and {high:.3f}, for forwards are noisy. So
        recording was timed by itself too, around an answer that is already there:
        {cost.own * 1e3:.2f} ms a call, {cost.own / cost.forward:.2%} of a forward of
        {cost.forward * 1e3:.0f} ms. Nobody waits for signing and disk."""
    )
    same = cost.same_bits == cost.pairs
    complete = recorded == cost.pairs + 1 and stage.notary.stats()["missed"] == 0
    screen.mark(
        same, f"the same bits, recorded or not, in {cost.same_bits} of {cost.pairs} batches"
    )
    screen.mark(complete, f"{recorded} calls recorded, none missed")
    return same and complete


def save(stage: Stage) -> bool:
    """Saves the last call as one file."""
    screen, texts = stage.screen, minilm.batches(stage.texts)[-1]
    screen.heading("Save")
    stage.embed(texts)
    stage.notary.last.save(
        stage.run, disclose=("weights", "structure"), inputs=(texts,), outputs=stage.output
    )
    from ..statement.record import Record

    stage.signer.write_bytes(Record.load(stage.run).public_key.to_pem())
    screen.show(
        f'notary.last.save("{stage.run}", inputs=(texts,), outputs=y,\n'
        '                 disclose=("weights", "structure"))'
    )
    screen.say(
        f"""One file of {stage.run.stat().st_size / 1000:.0f} kB, to hand to anyone. By default it
        would hold no input and no output, only salted commitments that nobody can guess at; here
        the {len(texts)} sentences and their embeddings are disclosed on purpose."""
    )
    return True


def verify(stage: Stage) -> bool:
    """Verifies the file as a receiver, in a process where torch cannot be imported."""
    screen = stage.screen
    screen.heading("Verify, without torch")
    screen.say(
        """Somebody else has this file, your public key and the model's weights. Their process
        cannot import torch, and it knows none of your logs:"""
    )
    arguments = ["verify", stage.run, "--signer", stage.signer, "--model", stage.weights]
    command = [sys.executable, "-m", "torchnotary.demo.without_torch", *map(str, arguments)]
    began = time.perf_counter()
    with somebody_else(stage.receiver):
        done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    seconds = time.perf_counter() - began
    shown = " ".join(map(str, [*arguments[:-1], Path("…") / stage.weights.name]))
    screen.show(f"$ torchnotary {shown}\n{(done.stdout + done.stderr).rstrip()}")
    held = done.returncode == 0
    screen.mark(held, f"exit code {done.returncode}, after {seconds:.1f} s")
    return held


def reproduce(stage: Stage) -> bool:
    """Runs the recorded call again from the file."""
    import torchnotary as tn

    screen = stage.screen
    screen.heading("Reproduce")
    found = tn.reproduce(stage.run, stage.embed, (minilm.batches(stage.texts)[-1],))
    screen.say(
        """A signature proves who said it, not that it happened. Whoever holds the model can run
        the call again and compare every bit:"""
    )
    screen.show(f'>>> tn.reproduce("{stage.run}", embed, (texts,))\n{found}')
    held = found.outcome == "bitwise"
    screen.mark(held, f"outcome: {found.outcome}")
    return held


def tamper(stage: Stage, tamperings: tuple[Tampering, ...]) -> bool:
    """Tries every way to tamper; each must be refused at its step, and by no other."""
    screen = stage.screen
    screen.heading("Tamper")
    screen.say(
        f"""Now {len(tamperings)} ways to cheat. Forged files are put together as an attacker
        would, every checksum below the signature recomputed where that helps. What counts is not
        that a forgery is refused, but that the step in charge refuses it and says why."""
    )
    exhibits = gather(
        stage.run,
        stage.earlier,
        stage.folder / "exhibits",
        stage.home,
        stage.notary,
        stage.embed,
        (stage.tokenizer, stage.model, (minilm.batches(stage.texts)[-1],), stage.output),
    )
    with somebody_else(stage.receiver):
        accepted = accept_untouched(screen, exhibits)
        outcomes = [judge(tampering, exhibits) for tampering in tamperings]
    screen.table(
        ("way", "refused at", "because"),
        [(o.held, (o.tampering.way, o.refused_at, o.sentence)) for o in outcomes],
    )
    held = sum(outcome.held for outcome in outcomes)
    screen.mark(held == len(outcomes), f"{held} of {len(outcomes)} refused where they should be")
    for outcome in outcomes:
        if not outcome.held:
            expected, failed = map(", ".join, (outcome.tampering.steps, outcome.failed))
            screen.mark(
                False,
                f"{outcome.tampering.way}: {expected} should fail and nothing else, but "
                f"{failed or 'nothing'} failed",
            )
    return accepted and held == len(outcomes)


def accept_untouched(screen: Screen, exhibits: Exhibits) -> bool:
    """Shows that the same verifier accepts what nobody touched."""
    held = True
    for what, verdict in untouched(exhibits):
        accepted = verdict.ok
        screen.mark(accepted, f"{what}: {'accepted' if accepted else verdict.headline}")
        held = held and accepted
    return held


def stop_a_silent_change(stage: Stage) -> bool:
    """Pins the model, changes it behind everyone's back, and asks the pin."""
    screen = stage.screen
    screen.heading("A silent change")
    lock = stage.folder / "torchnotary.lock"
    found = change_silently(stage.model, stage.tokenizer, stage.texts[:16], lock)
    screen.say(
        f"""You pin the model you tested: tn.pin(model, "{lock}"), no key needed. A month later
        somebody ships a "smaller" checkpoint in which {LAYER} was rounded to int8 and back. Same
        class, same names, same shapes, same file name; its answers still agree with the old ones
        to {found.similarity:.4f} (cosine, the worst of 16), so who would notice? One line before
        serving does:"""
    )
    refusal = "nothing was raised" if found.refusal is None else _without_roots(found.refusal)
    screen.show(f'>>> tn.check_pin(model, "{lock}")\n{refusal}')
    screen.mark(found.stopped, "stopped, and the layer that changed is named")
    return found.stopped


def close(stage: Stage, held: bool, seconds: float) -> None:
    """Says how it went and what to do next."""
    screen = stage.screen
    screen.heading("What next")
    screen.say(
        """In your own code: notary = tn.Notary("notary-log"), then @notary.record above a function
        or notary.attach(model). What a record proves, and what it does not: docs/, beside the
        threat table."""
    )
    screen.show(
        f"torchnotary verify {stage.run} --signer {stage.signer}\n"
        "torchnotary pin MODEL\n"
        "torchnotary doctor"
    )
    text = "everything held" if held else "NOT everything held: see the lines marked ✗"
    screen.mark(held, f"{text}, after {seconds:.0f} s")


def _without_roots(refusal: Any) -> str:
    """The refusal as people read it; the two roots it compared are 64 digits each."""
    return f"{type(refusal).__name__}: {refusal.reason.rstrip()}\nNext: {refusal.next_step}"
